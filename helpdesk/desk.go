// Package helpdesk is the desk at the telephone: helpers who find a person, make
// sure that the caller is that person, and give a lost factor or a locked
// account back, within what a delegation of the configuration lets them.
//
// It promises: one pure decider (Rules.May) stands before every page, action and
// API call, and answers no unless a running delegation says yes; nobody acts on
// themselves or on who holds more rights; a helper never sees a secret that
// could be used later; every action carries a reason, how the caller was
// verified, and its row in the audit, in one transaction; two helpers who act at
// once leave one action and two rows.
//
// Pages, on the provider's origin:
//
//	GET  /helpdesk/                  search, by ?q=
//	GET  /helpdesk/{sub}             a person: state, verification, factors, actions, history
//	POST /helpdesk/{sub}/verify      how the caller was verified
//	POST /helpdesk/{sub}/code        sends a code to a known address
//	POST /helpdesk/{sub}/{action}    does it, or asks for a second person (one route with the two above)
//	GET  /helpdesk/requests          what waits for a second person
//	POST /helpdesk/requests/{id}     agrees, or refuses
//	GET  /helpdesk/schools/{uai}     a school: who has no factor, keys, requests
//	GET  /helpdesk/schools/{uai}/letters  how many would get an enrolment letter; POST writes them
//	GET  /helpdesk/follow-up         who has which factor by school, resets by week, keys that could come back
//	GET  /helpdesk/follow-up.csv     the same for a spreadsheet
//	GET  /helpdesk/keys              OTP keys: stock, list, import
//	POST /helpdesk/keys/import       takes a file in; read in the background
//	GET  /helpdesk/keys/imports/{id} how far, the report, the question; POST decides
//	GET  /helpdesk/keys/{serial}     one key and its life; POST takes a step
//	GET  /helpdesk/keys/{serial}/receipt  the page that is signed at the hand-over
//	GET  /account/phrase             the three words that a person reads to the helpdesk
//	POST /account/phrase             makes them
package helpdesk

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
	"beffroi/internal/secret"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/signin"
)

// Codes sends codes to an address that a person gave before, to verify a caller.
type Codes interface {
	// SendCode sends one and says where to, most of it hidden.
	SendCode(ctx context.Context, actor audit.Actor, person string) (where string, err error)
	// CheckCode takes the code that the same actor had sent, once.
	// mfa.ErrWrongCode for any other.
	CheckCode(ctx context.Context, actor audit.Actor, person, code string) error
}

// Dependencies is what New needs; all but Codes, Log and Now are required.
type Dependencies struct {
	DB        *db.DB
	Sealer    *secret.Sealer
	Audit     *audit.Log
	Directory directory.Directory
	MFA       *mfa.Service
	SignIn    *signin.Service
	Codes     Codes  // nil: no codes are sent
	Roll      Roll   // nil: there are no pages of schools
	Name      string // of the academy, on letters
	Address   string // of the provider, without a slash at the end: https://id.ac-lille.fr
	Contact   string // whom to ask, on letters; empty: nobody is named
	Config    Config
	Zone      *time.Location // of the days of delegations
	Log       *slog.Logger
	Now       func() time.Time
}

// Desk is the helpdesk. Safe for concurrent use.
type Desk struct {
	db        *db.DB
	sealer    *secret.Sealer
	audit     *audit.Log
	directory directory.Directory
	mfa       *mfa.Service
	signin    *signin.Service
	codes     Codes
	roll      Roll
	name      string
	address   string
	contact   string
	rules     *Rules
	log       *slog.Logger
	now       func() time.Time
	counts    counts
}

// New makes the desk.
func New(d Dependencies) (*Desk, error) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Zone == nil {
		d.Zone = time.UTC
	}
	rules, err := NewRules(d.Config, d.Zone)
	if err != nil {
		return nil, err
	}
	return &Desk{db: d.DB, sealer: d.Sealer, audit: d.Audit, directory: d.Directory, mfa: d.MFA, signin: d.SignIn, codes: d.Codes, roll: d.Roll, name: d.Name, address: strings.TrimRight(d.Address, "/"), contact: d.Contact, rules: rules, log: d.Log, now: d.Now}, nil
}

// Mount adds the pages to the provider's routes.
func (d *Desk) Mount(mux web.Mux, site *web.Site) {
	page := func(pattern string, h web.Handler) { mux.Handle(pattern, site.Browser(h)) }
	page("GET /helpdesk", func(w http.ResponseWriter, r *http.Request) error { return web.Redirect(w, r, "/helpdesk/") })
	page("GET /helpdesk/{$}", d.showSearch)
	page("GET /helpdesk/requests", d.showRequests)
	page("POST /helpdesk/requests/{id}", d.postRequest)
	page("GET /helpdesk/{sub}", d.showPerson)
	page("POST /helpdesk/{sub}/{action}", d.postAction)
	d.mountKeys(page)
	page("GET /helpdesk/schools/{uai}", d.showSchool)
	page("GET /helpdesk/schools/{uai}/letters", d.showLetters)
	page("POST /helpdesk/schools/{uai}/letters", d.postLetters)
	page("GET /helpdesk/follow-up", d.showFollowUp)
	page("GET /helpdesk/follow-up.csv", d.showFollowUpCSV)
	page("GET /account/phrase", d.showPhrase)
	page("POST /account/phrase", d.postPhrase)
}

// Sweep removes what has ended: phrases, verifications, counts of guesses.
// Requests stay: they are part of a person's history.
func (d *Desk) Sweep(ctx context.Context) (n int64, err error) {
	now := d.now()
	for _, one := range []struct {
		query string
		until time.Time
	}{
		{"DELETE FROM helpdesk_phrase WHERE ends <= $1", now},
		{"DELETE FROM helpdesk_verified WHERE at <= $1", now.Add(-verifiedFor)},
		{"DELETE FROM helpdesk_guess WHERE since <= $1", now.Add(-guessWindow)},
		{"DELETE FROM helpdesk_repeat WHERE at <= $1", now.Add(-repeatLife)},
	} {
		gone, err := d.db.Exec(ctx, one.query, db.At(one.until))
		if err != nil {
			return n, fmt.Errorf("sweep the helpdesk: %w", err)
		}
		n += gone
	}
	return n, nil
}

// actor is the helper as author of what happens.
func (h Helper) actor() audit.Actor {
	if h.Application != "" {
		return audit.Application(h.Application)
	}
	return audit.Person(h.Person.ID, h.Person.Login)
}

// id is what a verification and a count of guesses belong to.
func (h Helper) id() string {
	if h.Application != "" {
		return "application " + h.Application
	}
	return h.Person.ID
}

// helper is who sits at the desk: signed in, with a second factor of lately, and
// somebody to help. Otherwise ok is false and the answer is written, a page that
// comes back to path or one that says why not.
func (d *Desk) helper(w http.ResponseWriter, r *http.Request, path string) (h Helper, ok bool, err error) {
	within := d.rules.Fresh()
	if r.Method == http.MethodGet {
		within = within * 3 / 4 // so that what is begun can be finished
	}
	v, ok, err := d.signin.Fresh(w, r, path, within)
	if !ok {
		return h, false, err
	}
	h.FactorAt = v.FactorAt
	h.Person, err = d.directory.ByID(r.Context(), v.Person)
	if errors.Is(err, directory.ErrUnknown) {
		h.Person, err = directory.Person{}, nil
	}
	if err != nil {
		return h, false, web.Fail(http.StatusServiceUnavailable, "helpdesk.error.directory", err)
	}
	if err := d.rules.Helps(h, d.now()); err != nil {
		d.refuse(r.Context(), h, Read, "", Refused(err))
		return h, false, d.renderRefused(w, r, Refused(err), "")
	}
	return h, true, nil
}

// refuse writes what was refused to the trail.
func (d *Desk) refuse(ctx context.Context, h Helper, a Action, person string, no *Refusal) {
	detail := map[string]string{"reason": no.Reason}
	if no.Name != "" {
		detail["name"] = no.Name
	}
	actor := h.actor()
	if actor.ID == "" {
		actor = audit.Anonymous()
	}
	d.audit.Refuse(ctx, actor, audit.Event{Action: "helpdesk." + string(a), Target: person, Outcome: "refused", Detail: detail})
}
