// Package portal is the academy's front page: an ordinary relying party on an
// origin of its own, with the modules (mail, agenda, contacts) behind it.
//
// It promises: the provider is reached by HTTP only, so that the portal can run
// on another machine; no password ever passes through here; the tokens stay
// sealed in the portal's own session and are never shown to a browser; each
// module receives a token for its own audience; a person who signs out
// everywhere is signed out here at once when the provider can reach the portal,
// and within a minute when it cannot.
//
// Routes: / (launcher), /login, /callback, /logout, /signed-out,
// /backchannel-logout (the provider's, by a signed token), and what the modules
// mount. cmd/beffroi builds it from New and mounts it with Mount.
package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/portal/dav"
)

// Module is one tool of the portal (webmail, agenda, contacts).
//
// A module may also have a method Badge() string: the path of a fragment (a few
// words, no link) that replaces the hint on its tile of the launcher: "3 messages
// non lus". It is fetched by htmx after the page has been painted, and answers
// 204 for nothing to say, failures among them.
//
// A module that has something to finish for a person who signs out has a method
// Leave(ctx context.Context): it is called while the session and its tokens still
// stand, and the browser waits for it, a few seconds at most.
//
// A module that keeps something open for people (connections) has a method
// Forget(person string), which closes it: a session of the person has ended.
type Module interface {
	// Name is the first segment of its paths: "mail", "agenda", "contacts".
	// The launcher shows it with the sentences portal.module.<name> and
	// portal.module.<name>.hint and the icon of the same name.
	Name() string
	// Mount adds its routes, all below /<name>/, through p.Signed.
	Mount(p *Portal, mux web.Mux)
}

// Person is who is signed in, as the provider told it.
type Person struct {
	Sub      string   `json:"sub"` // opaque and stable: the key for everything kept about the person
	Login    string   `json:"login"`
	Name     string   `json:"name"`
	Mail     string   `json:"mail"`
	Language string   `json:"language"`
	Groups   []string `json:"groups"`
}

// What TokenFor and Check answer when there is no token to give. web pages
// come from Unavailable and from Signed; modules only pass these errors on.
var (
	// ErrSignedOut: the session or its grant has ended; the person signs in again.
	ErrSignedOut = errors.New("signed out")
	// ErrUnavailable: the provider does not answer; trying again later may work.
	ErrUnavailable = errors.New("provider unavailable")
	// ErrRefused: the provider does not give this audience to this person.
	ErrRefused = errors.New("token refused")
)

// Dependencies are the parts that New needs. Sessions is a store of the site
// "portal", the one that Site loads sessions from.
type Dependencies struct {
	Config   Config
	DB       *db.DB
	Sealer   *secret.Sealer
	Audit    *audit.Log
	Sessions *session.Store
	Site     *web.Site
	Log      *slog.Logger
	Now      func() time.Time
	HTTP     *http.Client // to the provider; nil for the built-in one with its limits
}

// Portal is the relying party and its launcher. Safe for use by many goroutines.
type Portal struct {
	Config Config

	db       *db.DB
	sealer   *secret.Sealer
	audit    *audit.Log
	sessions *session.Store
	mandates *session.Store
	site     *web.Site
	log      *slog.Logger
	now      func() time.Time
	http     *http.Client
	modules  []Module
	secret   secret.String
	client   relyingParty
	vaults   vaults

	calendars, books *dav.Server // nil when not configured

	background sync.WaitGroup // revocations still on their way; Close waits
}

// New checks the configuration and joins the parts. It does not reach the
// provider, which may start a moment later in the same process.
func New(d Dependencies, modules ...Module) (*Portal, error) {
	if errs := d.Config.Validate(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	p := &Portal{Config: d.Config.withDefaults(), db: d.DB, sealer: d.Sealer, audit: d.Audit,
		sessions: d.Sessions, site: d.Site, log: d.Log, now: d.Now, http: d.HTTP, modules: modules}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		p.log = slog.Default()
	}
	if p.http == nil {
		client, err := newHTTPClient(p.Config.CAFile)
		if err != nil {
			return nil, err
		}
		p.http = client
	}
	secret, err := p.Config.secret()
	if err != nil {
		return nil, err
	}
	p.secret = secret
	p.vaults.now = p.now
	p.mandates = session.New(p.db, session.Config{Site: "mandate", Idle: mandateLife, Absolute: mandateLife, Now: p.now})
	return p, p.openDAV()
}

// Mount adds every route of the portal and of its modules.
func (p *Portal) Mount(mux web.Mux) {
	mux.Handle("GET /{$}", p.Signed(p.home))
	mux.Handle("GET /login", p.site.Browser(p.login))
	mux.Handle("GET /callback", p.site.Browser(p.callback))
	mux.Handle("POST /logout", p.site.Browser(p.logout))
	mux.Handle("POST /shared", p.Signed(p.setShared))
	mux.Handle("GET /manifest.webmanifest", p.site.Browser(p.manifest))
	mux.Handle("GET /sw.js", p.site.Browser(p.worker))
	mux.Handle("GET /offline", p.site.Browser(p.offline))
	mux.Handle("GET /signed-out", p.site.Browser(p.signedOut))
	mux.Handle("POST /backchannel-logout", p.site.API(p.backchannel))
	for _, m := range p.modules {
		m.Mount(p, mux)
	}
}

// Close waits for what is still being told to the provider.
func (p *Portal) Close() { p.background.Wait() }

// Site is the web site that the pages belong to.
func (p *Portal) Site() *web.Site { return p.site }

// Public is a page for whoever has its address.
func (p *Portal) Public(h web.Handler) http.Handler { return p.site.Browser(h) }

// DB is the portal's database, for the tables of the modules.
func (p *Portal) DB() *db.DB { return p.db }

// Now is the portal's clock.
func (p *Portal) Now() time.Time { return p.now() }

// As is the context of a session that an address sealed by this portal names,
// for a request that carries no cookie. It is checked as Signed does.
// Errors: ErrSignedOut, ErrUnavailable.
func (p *Portal) As(ctx context.Context, sid string) (context.Context, error) {
	row, err := p.sessions.Alive(ctx, sid)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrSignedOut
	}
	if err != nil {
		return nil, err
	}
	return p.as(ctx, row)
}

func (p *Portal) as(ctx context.Context, row *session.Session) (context.Context, error) {
	person, _, err := p.unpack(row)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignedOut, err)
	}
	ctx = context.WithValue(session.With(ctx, row), contextKey{}, visit{person: person, sid: row.SID})
	return ctx, p.Check(ctx)
}

// Of is the context of a session of a person, the last used one, or of a mandate of
// theirs, for what is done for them while no page of theirs is asked for. Errors:
// as of As.
func (p *Portal) Of(ctx context.Context, person string) (context.Context, error) {
	rows, err := p.sessions.OfPerson(ctx, person)
	if err != nil {
		return nil, err
	}
	mandates, err := p.mandates.OfPerson(ctx, person)
	if err != nil {
		return nil, err
	}
	for _, row := range append(rows, mandates...) {
		theirs, err := p.as(ctx, row)
		if err == nil {
			return theirs, nil
		}
		if !errors.Is(err, ErrSignedOut) {
			return nil, err
		}
	}
	return nil, ErrSignedOut
}

type contextKey struct{}

// visit is what Signed puts in the context of a request.
type visit struct {
	person Person
	sid    string
	lock   time.Duration // of a computer that several people use: how long nobody may be there; 0 for one's own
}

// Who is the person signed in. Behind Signed it is always filled.
func Who(ctx context.Context) Person {
	v, _ := ctx.Value(contextKey{}).(visit)
	return v.person
}

// SessionID names the portal session of this request: stable from sign-in to
// sign-out and not secret. Connection pools are keyed by it.
func SessionID(ctx context.Context) string {
	v, _ := ctx.Value(contextKey{}).(visit)
	return v.sid
}
