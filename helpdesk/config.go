package helpdesk

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Config says who may help whom. The zero value lets nobody help anybody.
type Config struct {
	Delegations []Delegation `yaml:"delegations"`

	// Privileged groups put their members above whoever is in none of them: a
	// helper touches a member only when in the same group.
	Privileged []string `yaml:"privileged"`

	// Sensitive people's accounts are given back by two: see Rules.May.
	Sensitive Sensitive `yaml:"sensitive"`

	// Heads lets whom the directory names as head of a school see the people of
	// that school, hand over keys there and approve what others ask for them.
	Heads bool `yaml:"heads"`

	Verify []string      `yaml:"verify"` // which ways of verifying a caller count: phrase, code, callback, in_person; all when empty
	Fresh  time.Duration `yaml:"fresh"`  // how old a helper's second factor may be when they act: 1h
}

// Delegation gives some helpers some actions on some people, for some time.
type Delegation struct {
	Name    string  `yaml:"name"`
	Helpers Helpers `yaml:"helpers"`

	// Whom it serves: those who fit every list that is not empty. Everyone
	// says so in as many words: lists left empty by mistake serve nobody.
	Everyone  bool     `yaml:"everyone"`
	Schools   []string `yaml:"schools"`   // UAI codes
	Groups    []string `yaml:"groups"`    // of the directory
	Kinds     []string `yaml:"kinds"`     // of staff: ENS, ADM, DIR
	Functions []string `yaml:"functions"` // administrative function

	Actions []string `yaml:"actions"`
	From    string   `yaml:"from"`  // first day, 2026-09-01; at once when empty
	Until   string   `yaml:"until"` // last day; no end when empty
}

// Helpers are who holds a delegation: any of these.
type Helpers struct {
	Groups       []string `yaml:"groups"`
	Logins       []string `yaml:"logins"`
	Applications []string `yaml:"applications"` // IDs of applications that act by themselves: a ticketing tool
}

// Sensitive says whose accounts need a second person: whoever fits any list.
type Sensitive struct {
	Groups    []string `yaml:"groups"`
	Functions []string `yaml:"functions"`
	Kinds     []string `yaml:"kinds"`
}

// The ways of knowing that a caller is who they say.
const (
	ByPhrase   = "phrase"    // three words that they read on their security page
	ByCode     = "code"      // sent to an address known before
	ByCallback = "callback"  // called back at the school's number of the directory
	InPerson   = "in_person" // seen, and recognised
)

var allWays = []string{ByPhrase, ByCode, ByCallback, InPerson}

var uaiCode = regexp.MustCompile(`^[0-9]{7}[A-Z]$`)

// Validate reports every mistake, each with its key.
func (c Config) Validate() []error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("helpdesk.%s: %s", key, fmt.Sprintf(format, args...)))
	}
	noBlank := func(key string, lists ...[]string) {
		for _, list := range lists {
			if slices.ContainsFunc(list, func(s string) bool { return strings.TrimSpace(s) == "" }) {
				wrong(key, "holds an empty name, which would fit anything or nothing")
			}
		}
	}
	for i, d := range c.Delegations {
		key := fmt.Sprintf("delegations[%d]", i)
		if strings.TrimSpace(d.Name) == "" {
			wrong(key+".name", "is needed: the trail and the pages say by which delegation somebody acts")
		}
		if slices.ContainsFunc(c.Delegations[:i], func(o Delegation) bool { return o.Name == d.Name }) {
			wrong(key+".name", "%q stands twice", d.Name)
		}
		if len(d.Helpers.Groups)+len(d.Helpers.Logins)+len(d.Helpers.Applications) == 0 {
			wrong(key+".helpers", "names nobody: give groups, logins or applications")
		}
		noBlank(key+".helpers", d.Helpers.Groups, d.Helpers.Logins, d.Helpers.Applications)
		scope := len(d.Schools) + len(d.Groups) + len(d.Kinds) + len(d.Functions)
		switch {
		case scope == 0 && !d.Everyone:
			wrong(key+".schools", "serves nobody: give schools, groups, kinds or functions, or say everyone: true")
		case scope > 0 && d.Everyone:
			wrong(key+".everyone", "contradicts the lists beside it")
		}
		noBlank(key+".groups", d.Groups, d.Kinds, d.Functions)
		for _, uai := range d.Schools {
			if !uaiCode.MatchString(uai) {
				wrong(key+".schools", "%q is not a school's code such as 0590001A", uai)
			}
		}
		if len(d.Actions) == 0 {
			wrong(key+".actions", "names no action: %s", strings.Join(delegable(), ", "))
		}
		for _, a := range d.Actions {
			if !slices.Contains(delegable(), a) {
				wrong(key+".actions", "%q is none of %s", a, strings.Join(delegable(), ", "))
			}
		}
		from, err := day(d.From, time.UTC)
		if err != nil {
			wrong(key+".from", "%q is not a day such as 2026-09-01", d.From)
		}
		until, err := day(d.Until, time.UTC)
		if err != nil {
			wrong(key+".until", "%q is not a day such as 2027-08-31", d.Until)
		}
		if !from.IsZero() && !until.IsZero() && until.Before(from) {
			wrong(key+".until", "comes before from")
		}
	}
	noBlank("privileged", c.Privileged)
	noBlank("sensitive", c.Sensitive.Groups, c.Sensitive.Functions, c.Sensitive.Kinds)
	for _, way := range c.Verify {
		if !slices.Contains(allWays, way) {
			wrong("verify", "%q is none of %s", way, strings.Join(allWays, ", "))
		}
	}
	if c.Fresh != 0 && (c.Fresh < time.Minute || c.Fresh > 12*time.Hour) {
		wrong("fresh", "must be between 1m and 12h")
	}
	return errs
}

// Warnings names what is allowed and will surprise: delegations that are over.
func (c Config) Warnings(now time.Time) []string {
	var all []string
	for _, d := range c.Delegations {
		if until, err := day(d.Until, now.Location()); err == nil && !until.IsZero() && !now.Before(until.AddDate(0, 0, 1)) {
			all = append(all, fmt.Sprintf("helpdesk: the delegation %q ended on %s and gives nobody anything any more", d.Name, d.Until))
		}
	}
	return all
}

// day reads a date, zero when empty.
func day(text string, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.ParseInLocation(time.DateOnly, text, zone)
}
