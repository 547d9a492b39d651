// Package signin answers two questions for every protocol: who is at the
// keyboard, and is that enough for this application?
//
// A protocol (oidc) hands over a Request by Begin and gets its answer by its
// Finisher; in between stands a Flow, kept in the database and bound to one
// browser. Every step comes back to one dispatcher, which asks Next, a pure
// function, what comes now: password, factor, enrolment, refusal or done.
// Gate.Admit is the only place that lets a person into an application.
//
// Pages, all on the provider's origin:
//
//	GET  /signin               the step that the flow is at
//	POST /signin               name and password
//	GET  /signin/factor        ?by= chooses among the factors of the person
//	POST /signin/factor        the code of a second factor
//	POST /signin/mailcode      sends a code by e-mail
//	POST /signin/later         puts a factor off that will be required
//	POST /signin/enrol         the first code of a new second factor
//	GET  /signin/qr            the picture of the pending secret
//	GET  /signin/lost          what to do without one's phone
//	POST /signin/account       goes on with the account signed in here, or with another one
//	POST /signin/switch        sign out and go on as somebody else
//	GET  /account              who am I, what protects me, where am I signed in
//	GET  /account/protect      makes a first factor
//	GET  /account/factors/{id} one factor: its name, and how to remove it
//	POST /account/factors/{id}
//	POST /account/factors/{id}/remove
//	GET  /account/passkeys/new makes a passkey
//	POST /account/passkeys/new
//	GET  /account/totp/new     makes an authenticator app a factor, or replaces it
//	POST /account/totp/new
//	GET  /account/recovery     recovery codes: how many are left, new ones
//	POST /account/recovery
//	GET  /account/mail         the address where codes go; POST sends a first one there
//	POST /account/mail
//	POST /account/mail/confirm the code that came: the address counts
//	GET  /account/card         the printed card that locks the account
//	POST /account/card
//	GET  /account/sessions     the browsers that are signed in; POST ends one
//	POST /account/sessions
//	GET  /account/history      what happened to the account
//	GET  /account/lock         locks the account: the question, or login and card
//	POST /account/lock
//	GET  /account/notme        the link of a message to the person: asks
//	POST /account/notme        locks
//	GET  /account/signout      the question before signing out everywhere
//	POST /account/signout      sign out everywhere
//	POST /logout               sign out of this browser
//	GET  /logout/done          signed out
//
// It promises: a session never skips a factor that an application asks for; a
// wrong password, an unknown person and a locked person look the same from
// outside; what is proven in a flow counts once, in the browser it was proven in.
package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/session"
	"beffroi/mfa"
	"beffroi/templates"
)

// Result is who signed in, how and when: what a protocol tells its application.
type Result struct {
	Person   directory.Person
	SID      string    // public id of the provider's session
	AuthTime time.Time // when the password behind this answer was given, or the passkey in its place
	AMR      []string  // RFC 8176: "pwd" for a password; "otp", or "pop" for a passkey, with "mfa"; "user" when the passkey knew its owner
	Level    Level
}

// Reasons of a Refusal, as OpenID Connect Core §3.1.2.6 names them.
const (
	LoginRequired       = "login_required"
	InteractionRequired = "interaction_required"
	AccessDenied        = "access_denied"
)

// SelectAccount is the prompt that lets the person choose between the account
// that is signed in here and another one.
const SelectAccount = "select_account"

// Refusal says why a request without pages (prompt=none) was not answered.
type Refusal struct {
	Reason string // LoginRequired, InteractionRequired or AccessDenied
}

// Finisher is a protocol, as far as signing in concerns it. raw is the bytes
// it gave to Begin.
type Finisher interface {
	// Finish writes the answer to the application, a plain 302 or 303.
	//
	// It runs inside the transaction that starts the session: r.Context()
	// carries it, and what Finish stores with that context is committed
	// together with the session, before the answer leaves. On an error nothing
	// is kept and nothing is sent.
	Finish(w http.ResponseWriter, r *http.Request, raw []byte, who Result) error
	// Refuse writes the protocol's error to the application. It is called for
	// prompt=none only; a person who may not enter gets a page instead.
	Refuse(w http.ResponseWriter, r *http.Request, raw []byte, why Refusal) error
	// Application reads the application again, with its policy of now. It is
	// called at each step; db.ErrNotFound when the application is gone.
	Application(ctx context.Context, raw []byte) (Application, error)
}

// Request is what an application asks for.
type Request struct {
	Application Application
	Protocol    string // the name given to Register, "oidc"
	Raw         []byte // the protocol's own bytes, handed back as they are; at most 16 KiB
	LoginHint   string
	UILocales   string        // space-separated BCP 47 tags, best first
	Prompt      string        // "", "none", "login" or SelectAccount
	MaxAge      *int64        // seconds; 0 asks for a fresh sign-in, nil for nothing
	Assurance   Level         // asked by this request, on top of the policy; 0 asks nothing
	Fresh       time.Duration // how long ago a second factor may have been given, whole seconds; 0 asks nothing
	Received    time.Time
}

// Config holds the limits. The zero value is usable: each field names what
// zero means.
type Config struct {
	FlowLife      time.Duration `yaml:"flow_life"`      // 15 minutes
	PasswordLimit int           `yaml:"password_limit"` // wrong passwords per person in GuessWindow, below the directory's own limit: 4
	FactorLimit   int           `yaml:"factor_limit"`   // wrong codes per person in GuessWindow: 4
	AddressLimit  int           `yaml:"address_limit"`  // wrong answers per address in GuessWindow before answers are delayed: 100
	GuessWindow   time.Duration `yaml:"guess_window"`   // 10 minutes
	DelayMax      time.Duration `yaml:"delay_max"`      // longest delay of an answer: 3 seconds
	MaxFlows      int           `yaml:"max_flows"`      // unfinished sign-ins kept; the oldest unproven ones make room: 100,000

	// HelpdeskContact is whom to call: a telephone number, a mail address or an
	// https address. Empty: "your academy's IT support".
	HelpdeskContact string `yaml:"helpdesk_contact"`
	TimeZone        string `yaml:"time_zone"` // of the times that pages show: Europe/Paris

	// GroupNames says groups in words, by language, where a refusal names them:
	// "chefs-etablissement": {"fr": "chefs d’établissement", "en": "heads of school"}.
	GroupNames map[string]map[string]string `yaml:"group_names"`

	// Who must prove what, beside what applications ask.
	Networks map[string][]string `yaml:"networks"` // address ranges by name, for rules
	Rules    []Rule              `yaml:"rules"`
	Trust    time.Duration       `yaml:"trust"` // for how long a browser may be trusted, where no rule says otherwise; 0: not at all
}

// Dependencies is what New needs; all fields but Teller, Address, Log and Config are required.
type Dependencies struct {
	DB        *db.DB
	Audit     *audit.Log
	Directory directory.Directory
	MFA       *mfa.Service
	Sessions  *session.Store // the provider's
	Teller    Teller         // nil: people are told nothing
	Address   string         // the provider's own, for links in messages: "https://id.academie.example"
	Config    Config
	Log       *slog.Logger
	Now       func() time.Time
}

// Service signs people in. Safe for concurrent use once its protocols and
// hooks are registered.
type Service struct {
	db        *db.DB
	audit     *audit.Log
	directory directory.Directory
	mfa       *mfa.Service
	sessions  *session.Store
	cfg       Config
	log       *slog.Logger
	now       func() time.Time
	zone      *time.Location
	gate      *Gate
	guard     *guard
	finishers map[string]Finisher
	ended     []func(ctx context.Context, person, sid string) error
	holders   []Holder
	leavers   leavers
	leaving   []func(ctx context.Context, person, sid string) ([]templates.Frame, error)
	locking   []func(ctx context.Context, actor audit.Actor, person string) error
	address   string
	flows     flowCount
	rules     rules
	teller    Teller
}

// New makes the service and its gate.
func New(d Dependencies) (*Service, error) {
	cfg := d.Config.withDefaults()
	if errs := d.Config.Validate(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	zone, err := time.LoadLocation(cfg.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("signin.time_zone: %w", err)
	}
	s := &Service{
		zone: zone,
		db:   d.DB, audit: d.Audit, directory: d.Directory, mfa: d.MFA, sessions: d.Sessions,
		address: strings.TrimRight(d.Address, "/"), cfg: cfg, rules: newRules(cfg), teller: d.Teller, log: d.Log, now: d.Now, finishers: map[string]Finisher{},
	}
	s.gate = &Gate{db: d.DB, directory: d.Directory, sessions: d.Sessions, left: s.left}
	s.AlsoHolds(sessionHolder{d.Sessions})
	s.guard = newGuard(d.DB, cfg, d.Now)
	s.Register(accountProtocol, accountFinisher{})
	d.MFA.OnChange(s.tellChange)
	d.MFA.OnReset(func(ctx context.Context, actor audit.Actor, person string) error {
		return s.endEverywhere(ctx, person)
	})
	return s, nil
}

// Register names a protocol's Finisher; before serving.
func (s *Service) Register(protocol string, f Finisher) { s.finishers[protocol] = f }

// OnEnd registers what happens when sessions end: sid names one session of the
// person, empty all of them (then offline tokens die too). It runs in the
// transaction of ctx that ends them, also for sessions replaced by another
// person's sign-in in the same browser; an error keeps the session alive.
func (s *Service) OnEnd(fn func(ctx context.Context, person, sid string) error) {
	s.ended = append(s.ended, fn)
}

// OnLeave registers what else signs out in the browser itself: the frames that
// the page after a sign-out loads. It is asked before the session ends.
func (s *Service) OnLeave(fn func(ctx context.Context, person, sid string) ([]templates.Frame, error)) {
	s.leaving = append(s.leaving, fn)
}

// Gate returns the one gate of this service.
func (s *Service) Gate() *Gate { return s.gate }
