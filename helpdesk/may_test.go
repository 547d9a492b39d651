package helpdesk

import (
	"strings"
	"testing"
	"time"

	"beffroi/directory"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

	marie = directory.Person{ID: "id-mdupont", Login: "mdupont", DisplayName: "Marie Dupont", EmployeeNumber: "59001", UAI: []string{"0590001A"}, Kind: "ADM", Groups: []string{"helpdesk", "tous-personnels"}}
	karim = directory.Person{ID: "id-kbensaid", Login: "kbensaid", DisplayName: "Karim Ben Saïd", UAI: []string{"0590001A"}, Kind: "ADM", Groups: []string{"Helpdesk"}}
	sarah = directory.Person{ID: "id-ssmith", Login: "ssmith", DisplayName: "Sarah Smith", UAI: []string{"0590002B"}, Kind: "ENS", Groups: []string{"tous-personnels"}}
	head  = directory.Person{ID: "id-jmartin", Login: "jmartin", DisplayName: "Jean-François Martin", UAI: []string{"0590002B"}, UAIResponsible: []string{"0590002B"}, Kind: "DIR", Groups: []string{"chefs-etablissement"}}
	paul  = directory.Person{ID: "id-plefebvre", Login: "plefebvre", DisplayName: "Paul Lefebvre", UAI: []string{"0590003C"}, Kind: "ENS", Groups: []string{"tous-personnels"}}
	aicha = directory.Person{ID: "id-aadmin", Login: "aadmin", DisplayName: "Aïcha Admin", UAI: []string{"0590001A"}, Kind: "ADM", Function: "RSSI", Groups: []string{"securite"}}
	paie  = directory.Person{ID: "id-paie", Login: "gpaie", DisplayName: "Gilles Paie", UAI: []string{"0590002B"}, Kind: "ADM", Groups: []string{"comptes-sensibles"}}
)

// academy is the demo's configuration, more or less.
func academy() Config {
	return Config{
		Delegations: []Delegation{
			{Name: "assistance", Helpers: Helpers{Groups: []string{"helpdesk"}}, Schools: []string{"0590001A", "0590002B"},
				Actions: []string{"read", "reset", "pass", "unlock", "lock", "open", "sessions", "keys", "letter"}, Until: "2026-12-31"},
			{Name: "tickets", Helpers: Helpers{Applications: []string{"ticket-tool"}}, Schools: []string{"0590002B"}, Actions: []string{"read", "reset"}},
		},
		Privileged: []string{"securite", "chefs-etablissement", "helpdesk"}, Sensitive: Sensitive{Groups: []string{"comptes-sensibles"}}, Heads: true,
	}
}

func rulesOf(t *testing.T, c Config) *Rules {
	t.Helper()
	r, err := NewRules(c, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// at sits at the desk with a second factor of a minute ago.
func at(p directory.Person) Helper { return Helper{Person: p, FactorAt: noon.Add(-time.Minute)} }

// says is what May answered, in a word.
func says(err error) string {
	if err == nil {
		return "yes"
	}
	if no := Refused(err); no != nil {
		return no.Reason
	}
	return err.Error()
}

func TestMay(t *testing.T) {
	with := func(change func(*Config)) Config {
		c := academy()
		change(&c)
		return c
	}
	two := func(p directory.Person, change func(*directory.Person)) directory.Person { change(&p); return p }
	for name, c := range map[string]struct {
		config Config
		helper Helper
		action Action
		person directory.Person
		now    time.Time
		says   string
	}{
		"a helper resets somebody of a school served": {academy(), at(marie), Reset, sarah, noon, "yes"},
		"and reads":               {academy(), at(marie), Read, sarah, noon, "yes"},
		"of another school":       {academy(), at(marie), Reset, paul, noon, Scope},
		"reads of another school": {academy(), at(marie), Read, paul, noon, Scope},
		"somebody of no school":   {academy(), at(marie), Read, directory.Person{ID: "id-x"}, noon, Scope},
		"nobody":                  {academy(), at(marie), Read, directory.Person{}, noon, Unknown},
		"herself":                 {academy(), at(marie), Reset, marie, noon, Self},
		"herself, read":           {academy(), at(marie), Read, marie, noon, "yes"},
		"herself in capitals":     {academy(), at(marie), Unlock, two(marie, func(p *directory.Person) { p.ID = "ID-MDUPONT" }), noon, Self},
		"her second account":      {academy(), at(marie), Reset, two(marie, func(p *directory.Person) { p.ID, p.Login = "id-2", "mdupont2" }), noon, Self},
		"the head of school, who holds more rights":          {academy(), at(marie), Reset, head, noon, Rights},
		"the head of school, read":                           {academy(), at(marie), Read, head, noon, "yes"},
		"the security officer":                               {academy(), at(marie), Lock, aicha, noon, Rights},
		"another helper":                                     {academy(), at(marie), Reset, karim, noon, "yes"},
		"a sensitive account":                                {academy(), at(marie), Reset, paie, noon, Second},
		"a sensitive account, locked by one":                 {academy(), at(marie), Lock, paie, noon, "yes"},
		"an old second factor":                               {academy(), Helper{Person: marie, FactorAt: noon.Add(-61 * time.Minute)}, Reset, sarah, noon, Stale},
		"an old second factor reads":                         {academy(), Helper{Person: marie, FactorAt: noon.Add(-61 * time.Minute)}, Read, sarah, noon, "yes"},
		"no second factor":                                   {academy(), Helper{Person: marie}, Read, sarah, noon, Stale},
		"a second factor of tomorrow":                        {academy(), Helper{Person: marie, FactorAt: noon.Add(time.Hour)}, Reset, sarah, noon, Stale},
		"the last day of a delegation":                       {academy(), Helper{Person: marie, FactorAt: time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC)}, Reset, sarah, time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC), "yes"},
		"the day after":                                      {academy(), Helper{Person: marie, FactorAt: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}, Read, sarah, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Ended},
		"before the first day":                               {with(func(c *Config) { c.Delegations[0].From = "2026-11-24" }), at(marie), Read, sarah, noon, Ended},
		"an action that is not given":                        {with(func(c *Config) { c.Delegations[0].Actions = []string{"unlock"} }), at(marie), Reset, sarah, noon, NoAction},
		"reading is given with any action":                   {with(func(c *Config) { c.Delegations[0].Actions = []string{"unlock"} }), at(marie), Read, sarah, noon, "yes"},
		"an action that does not exist":                      {academy(), at(marie), "drop", sarah, noon, NoAction},
		"somebody who is no helper":                          {academy(), at(paul), Read, sarah, noon, NotHelper},
		"a helper who left":                                  {academy(), at(two(marie, func(p *directory.Person) { p.Disabled = true })), Read, sarah, noon, NotHelper},
		"nobody at the desk":                                 {academy(), Helper{FactorAt: noon}, Read, sarah, noon, NotHelper},
		"a head reads the school":                            {academy(), at(head), Read, sarah, noon, "yes"},
		"a head hands over keys":                             {academy(), at(head), Keys, sarah, noon, "yes"},
		"a head resets nobody alone":                         {academy(), at(head), Reset, sarah, noon, NoAction},
		"a head of another school":                           {academy(), at(head), Read, paul, noon, Scope},
		"a head and themselves":                              {academy(), at(head), Keys, head, noon, Self},
		"a head and a helper who works there":                {academy(), at(head), Keys, two(karim, func(p *directory.Person) { p.UAI = []string{"0590002B"} }), noon, Rights},
		"a head where heads have no part":                    {with(func(c *Config) { c.Heads = false }), at(head), Read, sarah, noon, NotHelper},
		"an application":                                     {academy(), Helper{Application: "ticket-tool"}, Reset, sarah, noon, "yes"},
		"an application elsewhere":                           {academy(), Helper{Application: "ticket-tool"}, Reset, marie, noon, Scope},
		"an application that is not named":                   {academy(), Helper{Application: "other-tool"}, Read, sarah, noon, NotHelper},
		"an application for the person itself":               {academy(), Helper{Application: "ticket-tool", Person: sarah}, Reset, sarah, noon, Self},
		"an application for a helper gains nothing":          {academy(), Helper{Application: "ticket-tool", Person: marie, FactorAt: noon}, Pass, sarah, noon, NoAction},
		"an application and a head":                          {academy(), Helper{Application: "ticket-tool", Person: head}, Reset, head, noon, Self},
		"an application whose person has the privileged one": {academy(), Helper{Application: "ticket-tool", Person: two(head, func(p *directory.Person) { p.ID = "id-other" })}, Reset, head, noon, Rights},
		"somebody with a wider delegation": {with(func(c *Config) {
			c.Privileged = nil
			c.Delegations = append(c.Delegations, Delegation{Name: "academie", Helpers: Helpers{Logins: []string{"SSMITH"}}, Everyone: true, Actions: []string{"reset"}})
		}), at(marie), Reset, sarah, noon, Rights},
		"somebody whose wider delegation is over": {with(func(c *Config) {
			c.Delegations = append(c.Delegations, Delegation{Name: "academie", Helpers: Helpers{Logins: []string{"ssmith"}}, Everyone: true, Actions: []string{"reset"}, Until: "2026-11-22"})
		}), at(marie), Reset, sarah, noon, "yes"},
		"a head without the privileged group": {with(func(c *Config) { c.Privileged = nil; c.Delegations[0].Actions = []string{"reset"} }), at(marie), Reset, head, noon, Rights},
		"lists that must all fit":             {with(func(c *Config) { c.Delegations[0].Kinds = []string{"ens"} }), at(marie), Read, karim, noon, Scope},
		"lists that all fit":                  {with(func(c *Config) { c.Delegations[0].Kinds = []string{"ens"} }), at(marie), Read, sarah, noon, "yes"},
		"everyone": {with(func(c *Config) {
			c.Delegations[0].Schools, c.Delegations[0].Everyone = nil, true
		}), at(marie), Reset, paul, noon, "yes"},
	} {
		if got := says(rulesOf(t, c.config).May(c.helper, c.action, c.person, c.now)); got != c.says {
			t.Errorf("%s: %s, want %s", name, got, c.says)
		}
	}
}

func TestMayApprove(t *testing.T) {
	r := rulesOf(t, academy())
	third := directory.Person{ID: "id-third", Login: "third", UAI: []string{"0590002B"}, UAIResponsible: []string{"0590009Z"}, Groups: []string{"chefs-etablissement"}}
	for name, c := range map[string]struct {
		helper Helper
		action Action
		person directory.Person
		says   string
	}{
		"another helper":              {at(karim), Reset, paie, "yes"},
		"the asker":                   {at(marie), Reset, paie, Self},
		"the head of the school":      {at(head), Reset, paie, "yes"},
		"for an ordinary account too": {at(head), Reset, sarah, "yes"},
		"the head of another school":  {at(third), Reset, paie, Scope},
		"the person":                  {at(paie), Reset, paie, NotHelper},
		"the head for the head":       {at(head), Reset, head, Self},
		"an application":              {Helper{Application: "ticket-tool"}, Reset, paie, NoAction},
		"an old second factor":        {Helper{Person: head, FactorAt: noon.Add(-2 * time.Hour)}, Reset, paie, Stale},
		"what needs nobody's consent": {at(karim), Unlock, paie, NoAction},
	} {
		if got := says(r.MayApprove(c.helper, marie.ID, c.action, c.person, noon)); got != c.says {
			t.Errorf("%s: %s, want %s", name, got, c.says)
		}
	}
}

// Write rights are given, never left over: for every helper, action and person,
// a yes rests on a delegation that names all three.
func TestRow06NobodyActsWithoutADelegationThatSaysSo(t *testing.T) {
	everybody := []directory.Person{marie, karim, sarah, head, paul, aicha, paie}
	for _, config := range []Config{academy(), {}, {Heads: true}, {Privileged: []string{"helpdesk"}}} {
		r := rulesOf(t, config)
		for _, one := range everybody {
			for _, other := range everybody {
				for a := range rules {
					if r.May(at(one), a, other, noon) != nil {
						continue
					}
					served := false
					for _, g := range r.given {
						served = served || g.Helpers.name(at(one)) && g.serves(other)
					}
					if !served && !(config.Heads && heads(one, other)) || a != Read && one.ID == other.ID {
						t.Errorf("%s may %s %s", one.Login, a, other.Login)
					}
				}
			}
		}
	}
}

// No delegation, an empty one, one that is over: nobody helps anybody.
func TestRow34NoRuleIsNoRight(t *testing.T) {
	empty := []Config{
		{},
		{Fresh: time.Hour, Verify: []string{ByPhrase}},
		{Delegations: []Delegation{{Name: "over", Helpers: Helpers{Groups: []string{"helpdesk"}}, Everyone: true, Actions: []string{"reset"}, Until: "2026-11-22"}}},
		{Delegations: []Delegation{{Name: "others", Helpers: Helpers{Groups: []string{"nobody"}}, Everyone: true, Actions: []string{"reset"}}}},
	}
	for i, c := range empty {
		r := rulesOf(t, c)
		for _, h := range []Helper{at(marie), at(head), {Application: "ticket-tool"}, {}} {
			for a := range rules {
				if err := r.May(h, a, sarah, noon); err == nil {
					t.Errorf("configuration %d: %s may %s", i, h, a)
				}
			}
			if parts, err := r.Within(h, noon); err == nil || len(parts) > 0 {
				t.Errorf("configuration %d: %s searches in %v", i, h, parts)
			}
		}
	}
}

func TestRow33ADelegationThatNamesNothingIsAnError(t *testing.T) {
	whole := func() Delegation {
		return Delegation{Name: "x", Helpers: Helpers{Groups: []string{"helpdesk"}}, Schools: []string{"0590001A"}, Actions: []string{"reset"}}
	}
	for name, c := range map[string]struct {
		change func(*Config)
		key    string
	}{
		"no helper":             {func(c *Config) { c.Delegations[0].Helpers = Helpers{} }, "delegations[0].helpers: names nobody"},
		"an empty helper":       {func(c *Config) { c.Delegations[0].Helpers.Groups = []string{""} }, "delegations[0].helpers: holds an empty name"},
		"no scope":              {func(c *Config) { c.Delegations[0].Schools = nil }, "delegations[0].schools: serves nobody"},
		"an empty kind":         {func(c *Config) { c.Delegations[0].Kinds = []string{" "} }, "delegations[0].groups: holds an empty name"},
		"everyone and a school": {func(c *Config) { c.Delegations[0].Everyone = true }, "delegations[0].everyone: contradicts"},
		"a school that is none": {func(c *Config) { c.Delegations[0].Schools = []string{"*"} }, `delegations[0].schools: "*"`},
		"no action":             {func(c *Config) { c.Delegations[0].Actions = nil }, "delegations[0].actions: names no action"},
		"an unknown action":     {func(c *Config) { c.Delegations[0].Actions = []string{"all"} }, `delegations[0].actions: "all"`},
		"approving by itself":   {func(c *Config) { c.Delegations[0].Actions = []string{"approve"} }, `delegations[0].actions: "approve"`},
		"no name":               {func(c *Config) { c.Delegations[0].Name = "" }, "delegations[0].name: is needed"},
		"a name twice":          {func(c *Config) { c.Delegations = append(c.Delegations, whole()) }, `delegations[1].name: "x" stands twice`},
		"no day":                {func(c *Config) { c.Delegations[0].Until = "demain" }, `delegations[0].until: "demain"`},
		"days turned round":     {func(c *Config) { c.Delegations[0].From, c.Delegations[0].Until = "2026-12-01", "2026-11-01" }, "delegations[0].until: comes before"},
		"an unknown way":        {func(c *Config) { c.Verify = []string{"birthday"} }, `verify: "birthday"`},
		"an empty privilege":    {func(c *Config) { c.Privileged = []string{""} }, "privileged: holds an empty name"},
		"an empty sensitivity":  {func(c *Config) { c.Sensitive.Groups = []string{""} }, "sensitive: holds an empty name"},
		"hours too many":        {func(c *Config) { c.Fresh = 48 * time.Hour }, "fresh: must be between"},
	} {
		config := Config{Delegations: []Delegation{whole()}}
		if errs := config.Validate(); len(errs) > 0 {
			t.Fatal(errs)
		}
		c.change(&config)
		errs := config.Validate()
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "helpdesk."+c.key) {
			t.Errorf("%s: %v, want %s", name, errs, c.key)
		}
		if _, err := NewRules(config, time.UTC); err == nil {
			t.Errorf("%s: rules were made of it", name)
		}
	}
	over := Config{Delegations: []Delegation{whole()}}
	over.Delegations[0].Until = "2026-11-22"
	if errs, warnings := over.Validate(), over.Warnings(noon); len(errs) > 0 || len(warnings) != 1 || !strings.Contains(warnings[0], `"x" ended on 2026-11-22`) {
		t.Errorf("a delegation that is over: %v, %v", errs, warnings)
	}
}

func TestRow35EditingADelegationThatDoesNotRunLetsNobodyIn(t *testing.T) {
	for name, dates := range map[string][2]string{"over": {"", "2026-11-22"}, "not begun": {"2026-11-24", ""}} {
		t.Run(name, func(t *testing.T) {
			c := academy()
			c.Delegations[0].From, c.Delegations[0].Until = dates[0], dates[1]
			for _, edit := range []func(d *Delegation){
				func(*Delegation) {},
				func(d *Delegation) { d.Actions = []string{"reset"} },
				func(d *Delegation) { d.Name = "renamed" },
				func(d *Delegation) { d.Schools, d.Everyone = nil, true },
				func(d *Delegation) { d.Helpers.Logins = []string{"mdupont"} },
			} {
				edit(&c.Delegations[0])
				if got := says(rulesOf(t, c).May(at(marie), Reset, sarah, noon)); got != Ended {
					t.Errorf("%+v: %s", c.Delegations[0], got)
				}
			}
		})
	}
}
