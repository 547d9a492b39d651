package templates

import "time"

// HelpdeskSearch is the desk: one search, and what it found.
type HelpdeskSearch struct {
	Layout
	Query    string
	People   []HelpdeskWho
	More     bool // there are more than a page shows
	Short    bool // the query is too short to search by
	Serves   []HelpdeskServes
	Keys     bool     // sees OTP keys
	FollowUp bool     // there is a follow-up
	Schools  []string // served whole: each has a page
	Waiting  int      // requests that wait for this helper's word
}

func (HelpdeskSearch) Template() string { return "helpdesk_search.html" }

// HelpdeskServes is a delegation that the helper holds.
type HelpdeskServes struct {
	Name     string // empty: as head of the school
	Schools  []string
	Until    string // the last day; may be empty
	Everyone bool
}

// HelpdeskWho is a person, as far as helpers see one.
type HelpdeskWho struct {
	ID, Name, Login, Mail, Title, Phone string
	Schools                             []string
	Disabled                            bool
}

// HelpdeskPerson is everything about one person that a helper needs on the
// telephone. It never holds a secret but a pass that was just made.
type HelpdeskPerson struct {
	Layout
	Who       HelpdeskWho
	Kind      string
	Sensitive bool // two people for what opens a way in

	LockedSince                       time.Time
	LockedWay, LockedBy, LockedReason string
	Passwords, Codes                  int // wrong ones that still count
	PasswordUntil, CodeUntil          time.Time

	Factors  []AccountFactorInfo
	Keys     []HelpdeskPersonKey
	HasPass  bool
	Sessions int
	Story    []AccountEvent

	VerifiedWay string // "", or how this helper verified the caller
	VerifiedAt  time.Time
	Ways        []string // how they can: "phrase", "code", "callback", "in_person"
	Way, Remark string   // typed before

	Actions  []HelpdeskAction
	Lives    []int // of a pass, in minutes
	Requests []HelpdeskRequest
	Typed    string // the reason, typed before

	Pass     string // made just now, shown once
	PassEnds time.Time
	Problem  string
	Done     string
}

func (HelpdeskPerson) Template() string { return "helpdesk_person.html" }

// HelpdeskPersonKey is an OTP key of a person.
type HelpdeskPersonKey struct {
	Serial, Model, State string
	Losable              bool
}

// HelpdeskAction is a button with its consequence.
type HelpdeskAction struct {
	Action, Name, Effect string
	May                  bool
	Second               bool // it asks for a second person
	Verify               bool // the caller must be verified first
	Danger               bool
	Why                  string // why not
}

// HelpdeskRequest is an order that waits for a second person, or waited.
type HelpdeskRequest struct {
	ID, Action, Person, PersonName, Reason, Verified, Asker, State, Decider, Answer string
	Created, Ends, Decided                                                          time.Time
}

// HelpdeskRequests lists what waits for the helper's word, and what they asked.
type HelpdeskRequests struct {
	Layout
	Open, Mine []HelpdeskRequest
	Problem    string
	Done       string
	Pass       string
	PassEnds   time.Time
}

func (HelpdeskRequests) Template() string { return "helpdesk_requests.html" }

// HelpdeskRefused says why a helper may not.
type HelpdeskRefused struct {
	Layout
	Reason string // in words
	Name   string // whom it is about; may be empty
	Helper bool   // serves somebody: the way back leads to the desk
}

func (HelpdeskRefused) Template() string { return "helpdesk_refused.html" }

// AccountPhrase shows the three words that a person reads to the helpdesk.
type AccountPhrase struct {
	Layout
	Words []string // empty: none were made, or they have ended
	Ends  time.Time
	Weak  bool // this browser proved no second factor
}

func (AccountPhrase) Template() string { return "account_phrase.html" }

// HelpdeskKeys is the stock of OTP keys and a list by filter.
type HelpdeskKeys struct {
	Layout
	Serial, School, State, Lot string // the filter
	States                     []string
	Schools                    []string // that the helper serves
	All                        bool     // serves the whole academy, its own stock too
	Stock                      []HelpdeskStock
	Keys                       []HelpdeskOTPKey
	Count                      int
	After, Next                string
	Imports                    []HelpdeskImportInfo
	Problem                    string
}

func (HelpdeskKeys) Template() string { return "helpdesk_keys.html" }

// HelpdeskStock counts the keys of a school, by state in the order of States.
type HelpdeskStock struct {
	School string // empty: the academy's own
	Counts []int
	All    int
}

// HelpdeskOTPKey is a key, without its seed.
type HelpdeskOTPKey struct {
	Serial, Model, Kind, State, School, Person, Holder, Lot string
	Digits, Drift                                           int // Drift in seconds
	Overdue                                                 bool
	Ends, Created, Handed, Activated, Used                  time.Time
}

// HelpdeskImportInfo is an import of keys.
type HelpdeskImportInfo struct {
	ID, Name, Format, School, Author, State string
	Done, Total, Good, Bad                  int
	Report                                  []HelpdeskBadKey
	Created                                 time.Time
}

// HelpdeskBadKey is an entry of a file that is no key.
type HelpdeskBadKey struct {
	Line                   int
	Serial, Problem, Found string
}

// HelpdeskImport is one import: how far, the report, the question.
type HelpdeskImport struct {
	Layout
	Import  HelpdeskImportInfo
	Problem string
}

func (HelpdeskImport) Template() string { return "helpdesk_import.html" }

// HelpdeskKey is one key, what can be done with it, and its life.
type HelpdeskKey struct {
	Layout
	Key                     HelpdeskOTPKey
	Steps                   []HelpdeskStep
	ForPerson, Lends, Moves bool // fields that the steps need
	Resyncs                 bool
	Receipt                 bool
	Life                    []HelpdeskKeyEvent
	Problem, Done           string
}

func (HelpdeskKey) Template() string { return "helpdesk_key.html" }

// HelpdeskStep is a button.
type HelpdeskStep struct {
	Step, Name string
	Danger     bool
}

// HelpdeskKeyEvent is a line of a key's life.
type HelpdeskKeyEvent struct {
	At                                   time.Time
	Name, Author, School, Holder, Reason string
}

// HelpdeskSchool is a school, as its head and its helpers see it.
type HelpdeskSchool struct {
	Layout
	UAI     string
	People  int
	Counts  []HelpdeskCount // people by factor
	Without []HelpdeskWho   // people without any
	Keys    []HelpdeskOTPKey
	Waiting int
	Letters bool // the helper may write to those without
}

func (HelpdeskSchool) Template() string { return "helpdesk_school.html" }

// HelpdeskCount is how many people have a kind of factor.
type HelpdeskCount struct {
	Kind string
	N    int
}

// HelpdeskLetters asks before enrolment letters are written to a school.
type HelpdeskLetters struct {
	Layout
	UAI     string
	Who     string // "again": also to those who have a letter
	People  int    // letters there would be
	Names   []HelpdeskWho
	Have    int           // people whose letter is still good
	More    bool          // others come with the next letters
	Out     []HelpdeskWho // left out; Title says why
	Days    int           // that a letter is good
	Typed   string
	Problem string
}

func (HelpdeskLetters) Template() string { return "helpdesk_letters.html" }

// HelpdeskFollowUp is where the factors stand among those whom a helper serves.
type HelpdeskFollowUp struct {
	Layout
	School   string // the one that is shown; empty: everybody
	Counting bool   // there is nothing to show yet

	At      time.Time // of the count
	Choices []string  // schools to choose from
	Methods []string  // in the order of Counts of a line
	Line    HelpdeskFollowLine
	Weeks   []HelpdeskFollowWeek // the last one runs on
	Resets  bool                 // there was one
	Schools []HelpdeskFollowLine // most without a factor first
	More    bool                 // schools that the page leaves out

	Keys           bool             // sees OTP keys
	Unneeded, Late []HelpdeskOTPKey // with somebody who uses a passkey; lent and not back
}

func (HelpdeskFollowUp) Template() string { return "helpdesk_followup.html" }

// HelpdeskFollowLine counts the people of a school, or all of them.
type HelpdeskFollowLine struct {
	School                string // empty: of no school
	People, With, Without int    // with and without a factor that lasts
	Share                 int    // with, of 100 people; 100 only when nobody is without
	Counts                []HelpdeskFollowCount
	Resets                int  // in all Weeks
	Whole                 bool // the school has a page for this helper
}

// HelpdeskFollowCount is how many people hold a factor.
type HelpdeskFollowCount struct {
	Kind     string
	N, Share int
}

// HelpdeskFollowWeek is how many resets the helpdesk did in a week; Share is of
// the week with the most.
type HelpdeskFollowWeek struct {
	Monday   time.Time
	N, Share int
}
