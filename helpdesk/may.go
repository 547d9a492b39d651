package helpdesk

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"beffroi/directory"
)

// Action is something that a helper does for, or to, a person.
type Action string

const (
	Read     Action = "read"     // see the person's page
	Reset    Action = "reset"    // remove one second factor or all of them
	Pass     Action = "pass"     // give a temporary access pass
	Unlock   Action = "unlock"   // forget wrong passwords and codes
	Lock     Action = "lock"     // close the account here until it is opened
	Open     Action = "open"     // open a locked account
	Sessions Action = "sessions" // sign out everywhere
	Keys     Action = "keys"     // OTP keys: assign, hand over, mark lost
	Letter   Action = "letter"   // an enrolment letter
	Approve  Action = "approve"  // say yes or no to what somebody else asks; never delegated by itself
)

// rule is what an action asks for beside a delegation.
type rule struct {
	touches  bool // changes something: never oneself, nobody with more rights, a second factor of lately
	second   bool // opens a way in: two people for sensitive accounts
	verified bool // done on a call: who calls must be known for sure
}

var rules = map[Action]rule{
	Read:     {},
	Reset:    {touches: true, second: true, verified: true},
	Pass:     {touches: true, second: true, verified: true},
	Open:     {touches: true, second: true, verified: true},
	Letter:   {touches: true, second: true, verified: true},
	Keys:     {touches: true},
	Unlock:   {touches: true},
	Lock:     {touches: true},
	Sessions: {touches: true},
	Approve:  {touches: true},
}

// delegable are the actions that a delegation may name.
func delegable() []string {
	var all []string
	for a := range maps.Keys(rules) {
		if a != Approve {
			all = append(all, string(a))
		}
	}
	slices.Sort(all)
	return all
}

// NeedsVerified tells whether the action asks that the caller was verified.
func NeedsVerified(a Action) bool { return rules[a].verified }

// Helper is who wants to act for others.
type Helper struct {
	// Person is who sits at the desk, with groups. Beside Application, it is who
	// the application says it acts for: that takes rights away and gives none.
	Person      directory.Person
	Application string    // ID of an application acting by itself; empty at the desk
	FactorAt    time.Time // when the person at the desk last proved a second factor; zero when never
}

// Why a helper may not.
const (
	NotHelper = "not_helper" // no delegation names them
	Ended     = "ended"      // those that do are over, or have not begun
	Scope     = "scope"      // none serves the person
	NoAction  = "action"     // none that serves the person gives the action
	Self      = "self"       // nobody helps themselves
	Rights    = "rights"     // the person holds rights that the helper does not
	Stale     = "stale"      // the helper's second factor was proven too long ago
	Second    = "second"     // all is well but for the second person that the account asks for
	Unknown   = "unknown"    // no such person
)

// Refusal is the error of May: why, and what would help.
type Refusal struct {
	Reason  string
	Schools []string // Scope: those of the person; a delegation for one of them would be needed
	Name    string   // Rights: the group or delegation that puts the person above; Ended: the delegation
}

func (r *Refusal) Error() string {
	return strings.TrimSpace("helpdesk: refused: " + r.Reason + " " + r.Name)
}

// Key is the sentence that says it.
func (r *Refusal) Key() string { return "helpdesk.refused." + r.Reason }

// Refused returns the refusal inside err, or nil.
func Refused(err error) *Refusal {
	var r *Refusal
	errors.As(err, &r)
	return r
}

// Rules decide who may help whom. Nothing else in the house does.
type Rules struct {
	given      []given
	privileged []string
	sensitive  Sensitive
	heads      bool
	fresh      time.Duration
	verify     []string
}

// given is a delegation, read.
type given struct {
	Delegation
	actions     []Action
	from, until time.Time // until is the first moment after it
}

// headActions are what a head of school may do for the school's people.
var headActions = []Action{Read, Keys, Approve}

// NewRules reads the configuration; days begin and end in the zone.
func NewRules(c Config, zone *time.Location) (*Rules, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, errs[0]
	}
	r := &Rules{privileged: c.Privileged, sensitive: c.Sensitive, heads: c.Heads, fresh: c.Fresh, verify: c.Verify}
	if r.fresh == 0 {
		r.fresh = time.Hour
	}
	if len(r.verify) == 0 {
		r.verify = allWays
	}
	for _, d := range c.Delegations {
		g := given{Delegation: d, actions: []Action{Read}}
		for _, a := range d.Actions {
			g.actions = append(g.actions, Action(a))
			if rules[Action(a)].second {
				g.actions = append(g.actions, Approve) // who may do it may agree to it
			}
		}
		g.from, _ = day(d.From, zone)
		if until, _ := day(d.Until, zone); !until.IsZero() {
			g.until = until.AddDate(0, 0, 1)
		}
		r.given = append(r.given, g)
	}
	return r, nil
}

// May decides whether the helper may do the action for the person: nil, or a
// *Refusal. It is pure and the only decider: pages, the API and whatever comes
// later ask it, each time, on the directory's facts of now.
//
// Without a delegation that is running, fits the person and names the action,
// the answer is no. With one, it is still no for oneself, for whoever holds a
// privileged group that the helper is not in or a delegation wider than the
// helper's own, and on an old second factor. Second is the answer where all that
// is fine and the account is a sensitive one: two people must want it (MayApprove).
func (r *Rules) May(h Helper, a Action, p directory.Person, now time.Time) error {
	what, known := rules[a]
	switch {
	case h.Application == "" && (h.Person.ID == "" || h.Person.Disabled):
		return &Refusal{Reason: NotHelper}
	case !known:
		return &Refusal{Reason: NoAction}
	case p.ID == "":
		return &Refusal{Reason: Unknown}
	}
	running, err := r.running(h, now)
	if err != nil {
		return err
	}
	serving := slices.DeleteFunc(running, func(g given) bool { return !g.serves(p) })
	if len(serving) == 0 {
		return &Refusal{Reason: Scope, Schools: slices.Clone(p.UAI)}
	}
	if what.touches && same(h.Person, p) {
		return &Refusal{Reason: Self}
	}
	if !slices.ContainsFunc(serving, func(g given) bool { return slices.Contains(g.actions, a) }) {
		return &Refusal{Reason: NoAction}
	}
	if what.touches {
		if above := r.above(h, p, now); above != "" {
			return &Refusal{Reason: Rights, Name: above}
		}
	}
	if h.Application == "" && (h.FactorAt.IsZero() || h.FactorAt.After(now) || what.touches && now.Sub(h.FactorAt) > r.fresh) {
		return &Refusal{Reason: Stale}
	}
	if what.second && r.IsSensitive(p) {
		return &Refusal{Reason: Second}
	}
	return nil
}

// MayApprove decides whether the helper may agree to an action that somebody
// else has asked for: another helper who may do it, or the head of the person's
// school. That the asker still may is asked apart (MayAsk), when it is done.
func (r *Rules) MayApprove(h Helper, asker string, a Action, p directory.Person, now time.Time) error {
	if !rules[a].second || h.Application != "" {
		return &Refusal{Reason: NoAction}
	}
	if h.Person.ID == asker {
		return &Refusal{Reason: Self}
	}
	if err := r.May(h, Approve, p, now); err != nil {
		return err
	}
	if r.heads && heads(h.Person, p) {
		return nil
	}
	return r.MayAsk(h, a, p, now)
}

// MayAsk decides whether the helper may ask that somebody agrees to the action:
// whoever may do it, alone or as one of two.
func (r *Rules) MayAsk(h Helper, a Action, p directory.Person, now time.Time) error {
	err := r.May(h, a, p, now)
	if no := Refused(err); no != nil && no.Reason == Second {
		return nil
	}
	return err
}

// Helps tells whether the helper has anybody to help now.
func (r *Rules) Helps(h Helper, now time.Time) error {
	if h.Application == "" && (h.Person.ID == "" || h.Person.Disabled) {
		return &Refusal{Reason: NotHelper}
	}
	_, err := r.running(h, now)
	return err
}

// IsSensitive tells whether the person's account asks for two.
func (r *Rules) IsSensitive(p directory.Person) bool {
	return anyFold(r.sensitive.Groups, p.Groups...) || anyFold(r.sensitive.Functions, p.Function) || anyFold(r.sensitive.Kinds, p.Kind)
}

// Fresh is how old a helper's second factor may be.
func (r *Rules) Fresh() time.Duration { return r.fresh }

// Verifies tells whether a way of verifying a caller counts.
func (r *Rules) Verifies(way string) bool { return slices.Contains(r.verify, way) }

// Serving lists the names of the delegations that the helper holds now, the
// schools that they head among them as "".
func (r *Rules) Serving(h Helper, now time.Time) []Delegation {
	running, _ := r.running(h, now)
	var all []Delegation
	for _, g := range running {
		all = append(all, g.Delegation)
	}
	return all
}

// By is the name of the delegation that lets the helper do the action for the
// person; empty for a head of school, who needs none.
func (r *Rules) By(h Helper, a Action, p directory.Person, now time.Time) string {
	running, _ := r.running(h, now)
	for _, g := range running {
		if g.serves(p) && slices.Contains(g.actions, a) {
			return g.Name
		}
	}
	return ""
}

// Within is the part of the directory that the helper serves, for searching it:
// never empty when the error is nil.
func (r *Rules) Within(h Helper, now time.Time) ([]directory.Within, error) {
	running, err := r.running(h, now)
	if err != nil {
		return nil, err
	}
	var all []directory.Within
	for _, g := range running {
		all = append(all, directory.Within{Everyone: g.Everyone, Schools: g.Schools, Groups: g.Groups, Kinds: g.Kinds, Functions: g.Functions})
	}
	return all, nil
}

// running are the delegations that the helper holds at the time.
func (r *Rules) running(h Helper, now time.Time) ([]given, error) {
	var all []given
	over := ""
	for _, g := range r.given {
		if !g.Helpers.name(h) {
			continue
		}
		if now.Before(g.from) || !g.until.IsZero() && !now.Before(g.until) {
			over = g.Name
			continue
		}
		all = append(all, g)
	}
	if r.heads && h.Application == "" && len(h.Person.UAIResponsible) > 0 {
		all = append(all, given{Delegation: Delegation{Schools: h.Person.UAIResponsible}, actions: headActions})
	}
	switch {
	case len(all) > 0:
		return all, nil
	case over != "":
		return nil, &Refusal{Reason: Ended, Name: over}
	}
	return nil, &Refusal{Reason: NotHelper}
}

// name tells whether the helper is among them. Of an application, only its ID
// counts: not the person it says it acts for.
func (n Helpers) name(h Helper) bool {
	if h.Application != "" {
		return slices.Contains(n.Applications, h.Application)
	}
	return anyFold(n.Logins, h.Person.Login) || anyFold(n.Groups, h.Person.Groups...)
}

// serves tells whether the person fits every list that is not empty; without
// any list, everyone must have been said.
func (g given) serves(p directory.Person) bool {
	if len(g.Schools)+len(g.Groups)+len(g.Kinds)+len(g.Functions) == 0 {
		return g.Everyone
	}
	return (len(g.Schools) == 0 || anyFold(g.Schools, p.UAI...)) && (len(g.Groups) == 0 || anyFold(g.Groups, p.Groups...)) &&
		(len(g.Kinds) == 0 || anyFold(g.Kinds, p.Kind)) && (len(g.Functions) == 0 || anyFold(g.Functions, p.Function))
}

// above names what puts the person above the helper; empty when nothing does.
func (r *Rules) above(h Helper, p directory.Person, now time.Time) string {
	mine := h.Person.Groups
	if h.Application != "" {
		mine = nil
	}
	for _, group := range r.privileged {
		if anyFold([]string{group}, p.Groups...) && !anyFold([]string{group}, mine...) {
			return group
		}
	}
	theirs, _ := r.running(Helper{Person: p}, now)
	own, _ := r.running(h, now)
	for _, t := range theirs {
		if !slices.ContainsFunc(own, func(o given) bool { return o.covers(t) }) {
			return firstOf(t.Name, strings.Join(t.Schools, ", "))
		}
	}
	return ""
}

// covers tells whether whoever holds g may do all that the holder of o may.
func (g given) covers(o given) bool {
	for _, a := range o.actions {
		if !slices.Contains(g.actions, a) {
			return false
		}
	}
	if g.Everyone {
		return true
	}
	if o.Everyone {
		return false
	}
	within := func(mine, theirs []string) bool {
		if len(mine) == 0 {
			return true
		}
		return len(theirs) > 0 && !slices.ContainsFunc(theirs, func(t string) bool { return !anyFold(mine, t) })
	}
	return within(g.Schools, o.Schools) && within(g.Groups, o.Groups) && within(g.Kinds, o.Kinds) && within(g.Functions, o.Functions)
}

// heads tells whether one is the head of a school where the other works.
func heads(one, other directory.Person) bool { return anyFold(one.UAIResponsible, other.UAI...) }

// same tells whether two entries are one human being: a second account does not
// make somebody else of them.
func same(one, other directory.Person) bool {
	return one.ID != "" && strings.EqualFold(one.ID, other.ID) ||
		one.DN != "" && strings.EqualFold(one.DN, other.DN) ||
		one.EmployeeNumber != "" && strings.EqualFold(one.EmployeeNumber, other.EmployeeNumber)
}

// anyFold tells whether one of the values is listed, case apart, as LDAP
// compares; an empty value is nobody's.
func anyFold(list []string, values ...string) bool {
	return slices.ContainsFunc(values, func(v string) bool {
		return v != "" && slices.ContainsFunc(list, func(l string) bool { return strings.EqualFold(l, v) })
	})
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// String says what an actor is called where no name is at hand.
func (h Helper) String() string {
	if h.Application != "" {
		return h.Application
	}
	return fmt.Sprintf("%s (%s)", h.Person.Login, h.Person.ID)
}
