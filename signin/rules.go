package signin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/web"
	"beffroi/mfa"
)

// Rule asks more of some people, in some applications, from some networks: of
// whom every list that is not empty fits. Rules only add to what the application
// asks, and the strictest of those that fit holds: without any rule, or when
// none fits, nothing is asked for less.
type Rule struct {
	Name string `yaml:"name"`

	Groups       []string `yaml:"groups"`       // of the directory; empty: everybody
	Applications []string `yaml:"applications"` // their IDs; "account" and "helpdesk" are the provider's own pages; empty: all
	From         []string `yaml:"from"`         // names of networks; empty: anywhere
	Outside      []string `yaml:"outside"`      // everywhere but there

	Assurance int           `yaml:"assurance"`  // 2: two factors; 3: resists phishing; 0 adds nothing
	Methods   []string      `yaml:"methods"`    // the only factors that count: passkey, key, totp, mail, recovery, pass
	Models    []string      `yaml:"models"`     // the only passkeys that count, by AAGUID
	Fresh     time.Duration `yaml:"fresh"`      // how long ago the factor may have been given; 0: in this session
	NoTrust   bool          `yaml:"no_trust"`   // a trusted browser does not stand for a factor
	Trust     time.Duration `yaml:"trust"`      // for how long one does; 0: signin.trust
	PassFirst bool          `yaml:"pass_first"` // whoever has no factor makes the first one on a pass of the helpdesk

	// Until both are used up, a person who holds nothing that is enough may put
	// off making it; then the rule is as any other.
	Grace     time.Duration `yaml:"grace"`     // since it was first put off
	Deferrals int           `yaml:"deferrals"` // how often
}

var ruleMethods = []mfa.Method{mfa.Passkey, mfa.Key, mfa.TOTP, mfa.Mail, mfa.Recovery, mfa.Pass}

// validateRules reports every rule and network that makes no sense, by its key.
func (c Config) validateRules() []error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("signin.%s: %s", key, fmt.Sprintf(format, args...)))
	}
	for name, list := range c.Networks {
		if strings.TrimSpace(name) == "" || len(list) == 0 {
			wrong("networks", "%q names no addresses", name)
		}
		for _, text := range list {
			if _, err := netip.ParsePrefix(text); err != nil {
				wrong("networks", "%q of %s is not a network such as 10.1.0.0/16", text, name)
			}
		}
	}
	if c.Trust < 0 || c.Trust > 366*24*time.Hour {
		wrong("trust", "must be between 0 and 8784h")
	}
	for i, r := range c.Rules {
		key := fmt.Sprintf("rules[%d]", i)
		if strings.TrimSpace(r.Name) == "" {
			wrong(key+".name", "is needed: what is put off is remembered by it")
		}
		if slices.ContainsFunc(c.Rules[:i], func(o Rule) bool { return o.Name == r.Name }) {
			wrong(key+".name", "%q stands twice", r.Name)
		}
		for _, list := range [][]string{r.Groups, r.Applications} {
			if slices.ContainsFunc(list, func(s string) bool { return strings.TrimSpace(s) == "" }) {
				wrong(key, "holds an empty name, which fits nobody")
			}
		}
		for _, name := range append(slices.Clone(r.From), r.Outside...) {
			if _, ok := c.Networks[name]; !ok {
				wrong(key+".from", "%q is none of signin.networks", name)
			}
		}
		if r.Assurance != 0 && r.Assurance != 2 && r.Assurance != 3 {
			wrong(key+".assurance", "must be 2 (two factors) or 3 (one that resists phishing)")
		}
		for _, m := range r.Methods {
			if !slices.Contains(ruleMethods, mfa.Method(m)) {
				wrong(key+".methods", "%q is none of passkey, key, totp, mail, recovery, pass", m)
			}
		}
		for _, id := range r.Models {
			if !mfa.ValidModel(id) {
				wrong(key+".models", "%q is not an AAGUID such as cb69481e-8ff7-4039-93ec-0a2729a154a8", id)
			}
		}
		duration := func(name string, v, most time.Duration) {
			if v < 0 || v > most {
				wrong(key+"."+name, "must be between 0 and %s", most)
			}
		}
		duration("fresh", r.Fresh, 24*time.Hour)
		duration("trust", r.Trust, 366*24*time.Hour)
		duration("grace", r.Grace, 366*24*time.Hour)
		if r.Deferrals < 0 || r.Deferrals > 1000 {
			wrong(key+".deferrals", "must be between 0 and 1000")
		}
		if r.NoTrust && r.Trust > 0 {
			wrong(key+".trust", "contradicts no_trust")
		}
		if r.asks() == 0 && !r.NoTrust && r.Trust == 0 && !r.PassFirst {
			wrong(key, "asks for nothing: give assurance, methods, models, fresh, no_trust, trust or pass_first")
		}
		if (r.Grace > 0 || r.Deferrals > 0) && r.asks() == 0 {
			wrong(key+".grace", "there is nothing to put off")
		}
	}
	return errs
}

// asks is the level that a rule needs; 0 when it is not about one.
func (r Rule) asks() Level {
	switch {
	case len(r.Models) > 0:
		return PhishingResistant
	case r.Assurance == 0 && (len(r.Methods) > 0 || r.Fresh > 0):
		return TwoFactors
	}
	return Level(r.Assurance)
}

// rules are those of the configuration, read.
type rules struct {
	list     []Rule
	networks map[string][]netip.Prefix
	trust    time.Duration
}

func newRules(c Config) rules {
	r := rules{list: c.Rules, networks: map[string][]netip.Prefix{}, trust: c.Trust}
	for name, list := range c.Networks {
		for _, text := range list {
			if p, err := netip.ParsePrefix(text); err == nil {
				r.networks[name] = append(r.networks[name], p.Masked())
			}
		}
	}
	return r
}

// fit lists the rules for a person, an application and an address. An address
// that is not known is in no network, and so outside of all.
func (r rules) fit(person directory.Person, application string, from netip.Addr) []Rule {
	var all []Rule
	for _, one := range r.list {
		if (len(one.Groups) == 0 || anyGroup(one.Groups, person.Groups)) &&
			(len(one.Applications) == 0 || slices.Contains(one.Applications, application)) &&
			(len(one.From) == 0 || r.within(one.From, from)) && (len(one.Outside) == 0 || !r.within(one.Outside, from)) {
			all = append(all, one)
		}
	}
	return all
}

func (r rules) within(names []string, from netip.Addr) bool {
	from = from.Unmap()
	return slices.ContainsFunc(names, func(name string) bool {
		return slices.ContainsFunc(r.networks[name], func(p netip.Prefix) bool { return p.Contains(from) })
	})
}

func anyGroup(wanted, has []string) bool {
	return slices.ContainsFunc(wanted, func(w string) bool {
		return w != "" && slices.ContainsFunc(has, func(h string) bool { return strings.EqualFold(h, w) })
	})
}

// requirement is what a rule adds, trust apart.
func (r Rule) requirement() Requirement {
	need := Requirement{Level: r.asks(), Models: r.Models, Fresh: r.Fresh, PassFirst: r.PassFirst}
	for _, m := range r.Methods {
		need.Methods = append(need.Methods, mfa.Method(m))
	}
	return need
}

// trustOf is how long rules that fit let a browser be trusted: the shortest that
// one of them says, else what holds for the house.
func (r rules) trustOf(fitting []Rule) time.Duration {
	trust, said := r.trust, false
	for _, one := range fitting {
		switch {
		case one.NoTrust:
			return 0
		case one.Trust > 0 && (!said || one.Trust < trust):
			trust, said = one.Trust, true
		}
	}
	return trust
}

// base is what a request asks of anybody.
func (s *Service) base(f Flow, app Application) Requirement {
	return Requirement{Level: required(app.Policy, f.Assurance), Fresh: f.Fresh, Trust: s.rules.trust}
}

// require is what a request asks of the person whom flow or session name.
func (s *Service) require(ctx context.Context, f Flow, app Application, id string, has Holding) (Requirement, error) {
	need := s.base(f, app)
	if len(s.rules.list) == 0 || id == "" {
		return need, nil
	}
	person, err := s.directory.ByID(ctx, id)
	if err != nil && !errors.Is(err, directory.ErrUnknown) { // who is gone is refused by the gate
		return need, s.directoryDown(err)
	}
	fitting := s.rules.fit(person, app.ID, web.ClientIP(ctx))
	need.Trust = s.rules.trustOf(fitting)
	for _, r := range fitting {
		adds := r.requirement()
		if r.Grace == 0 && r.Deferrals == 0 || len(has.answers(adds)) > 0 {
			need = need.and(adds)
			continue
		}
		wish, err := s.wish(ctx, id, r, adds)
		if err != nil {
			return need, err
		}
		if wish == nil {
			need = need.and(adds)
		} else if need.Wish == nil {
			need.Wish = wish
		}
	}
	return need, nil
}

// wish is a rule that may still be put off; nil when it may not.
func (s *Service) wish(ctx context.Context, person string, r Rule, adds Requirement) (*Wish, error) {
	var first db.Time
	var count int
	err := s.db.QueryRow(ctx, "SELECT first, count FROM signin_deferral WHERE person = $1 AND rule = $2", person, r.Name).Scan(&first, &count)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return nil, fmt.Errorf("deferrals of %s: %w", person, err)
	}
	w := &Wish{Rule: r.Name, Level: adds.Level, Methods: adds.Methods, Models: adds.Models, Left: -1}
	if r.Grace > 0 {
		w.Ends = s.now().Add(r.Grace)
		if !first.IsZero() {
			w.Ends = first.Add(r.Grace)
		}
		if !s.now().Before(w.Ends) {
			return nil, nil
		}
	}
	if r.Deferrals > 0 {
		if w.Left = r.Deferrals - count; w.Left <= 0 {
			return nil, nil
		}
	}
	return w, nil
}

// putOff counts that the person put a rule off: true when it still could be.
func (s *Service) putOff(ctx context.Context, person directory.Person, w *Wish, application string) error {
	var count int
	err := s.db.QueryRow(ctx, `INSERT INTO signin_deferral (person, rule, first, count) VALUES ($1, $2, $3, 1)
		ON CONFLICT (person, rule) DO UPDATE SET count = signin_deferral.count + 1 RETURNING count`, person.ID, w.Rule, db.At(s.now())).Scan(&count)
	if err != nil {
		return fmt.Errorf("put off by %s: %w", person.ID, err)
	}
	return s.audit.Record(ctx, actorOf(person), audit.Event{Action: "signin.later", Target: person.ID, Application: application, Outcome: "ok",
		Detail: map[string]string{"rule": w.Rule, "times": fmt.Sprint(count)}})
}

// holding counts what the person could be asked for.
func (s *Service) holding(ctx context.Context, person string) (Holding, error) {
	has := Holding{Passkeys: s.mfa.Passkeys()}
	if person == "" {
		return has, nil
	}
	var err error
	if has.Held, err = s.mfa.Held(ctx, person); err != nil {
		return has, err
	}
	if has.Lasting() == 0 {
		handed, err := s.handedKeys(ctx, person)
		if err != nil {
			return has, err
		}
		has.Keys = len(handed)
	}
	if has.Held[mfa.Passkey] > 0 {
		has.Models, err = s.mfa.AttestedModels(ctx, person)
	}
	return has, err
}

// next asks Next, having found out what is required and, where it matters, what
// the person holds.
func (s *Service) next(ctx context.Context, a attempt) (Step, Requirement, error) {
	id := subject(a.flow, a.proof)
	has := Holding{Passkeys: s.mfa.Passkeys()}
	need := s.base(a.flow, a.app)
	if id == "" {
		return Next(a.flow, a.proof, need, has, s.now()), need, nil
	}
	if len(s.rules.list) == 0 {
		if step := Next(a.flow, a.proof, need, has, s.now()); step.Kind == Done { // whatever the person holds
			return step, need, nil
		}
	}
	has, err := s.holding(ctx, id)
	if err != nil {
		return Step{}, need, err
	}
	if need, err = s.require(ctx, a.flow, a.app, id, has); err != nil {
		return Step{}, need, err
	}
	return Next(a.flow, a.proof, need, has, s.now()), need, nil
}
