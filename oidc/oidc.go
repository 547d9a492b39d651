// Package oidc is the OpenID provider: what an application speaks to when it
// sends somebody to sign in. The only folder that knows fosite.
//
// Routes, all on the provider's origin:
//
//	GET      /.well-known/openid-configuration        what is offered, and nothing else
//	GET      /.well-known/oauth-authorization-server  the same (RFC 8414)
//	GET      /jwks                the public keys
//	GET POST /oauth2/authorize    an application sends a person's browser
//	GET POST /oauth2/consent      a person is asked what an application may learn, and answers
//	POST     /oauth2/par          an application sends its request ahead of the browser (RFC 9126)
//	POST     /oauth2/token        codes, refresh tokens, device codes, assertions, own credentials and exchanges become tokens
//	POST     /oauth2/device_authorization  a device asks for a code (RFC 8628)
//	GET POST /device              where its person types it
//	GET POST /device/confirm      what the device may, and the person's answer
//	POST     /oauth2/introspect   what a token says (RFC 7662)
//	POST     /oauth2/revoke       ends a token (RFC 7009)
//	GET POST /userinfo            who the token's person is
//	GET POST /account/applications  what each application has of who is signed in, and taking it back
//	GET POST /oauth2/logout       sign out, asked by an application
//	POST     /oauth2/logout/confirm  and the person's answer, where one is needed
//	POST     /oauth2/register     an application registers itself, where that is allowed (RFC 7591)
//	GET PUT DELETE /oauth2/register/{id}  and reads, changes or ends its registration (RFC 7592)
//	GET      /api/applications    the tiles of the token's person
//	GET      /api/people          search in the directory
//
// It promises: a code is good once, whoever races for it; a refresh token is
// good once, but for ten seconds of grace to the same application, and its
// reuse ends the family; signin's Gate is asked once before any token exists;
// a client sees the inside of its own tokens and of those made for it only; an
// application that registered itself sends this server into no inner network;
// every refusal that smells of theft stands in the audit trail, up to a cap.
// Codes and tokens rest as hashes.
//
// It does not promise that fosite is safe alone: docs/decisions/0003 tells what
// of it is used and what stands before it.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/ory/fosite"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/signin"
)

// Config is the provider's part of the configuration. Zero durations take the
// defaults written beside them.
type Config struct {
	Issuer        string        `yaml:"issuer"`
	CodeLife      time.Duration `yaml:"code_life"`     // 1 min
	AccessLife    time.Duration `yaml:"access_life"`   // 15 min
	IDTokenLife   time.Duration `yaml:"id_token_life"` // 15 min
	RefreshLife   time.Duration `yaml:"refresh_life"`  // 30 days unused, with offline_access
	OfflineMost   time.Duration `yaml:"offline_most"`  // 180 days in all, with offline_access
	SessionMost   time.Duration `yaml:"session_most"`  // 24 h in all, without
	RefreshGrace  time.Duration `yaml:"refresh_grace"` // 10 s
	LeastAssured  int           `yaml:"assurance"`     // factors asked of applications that say nothing: 1
	Documentation string        `yaml:"documentation"` // address that discovery names as service_documentation
	CAFile        string        `yaml:"ca_file"`       // authorities for reaching applications; empty: the system's
	LocalNames    []string      `yaml:"local_names"`   // hosts of applications that may resolve to this machine, beside localhost

	ProConnect ProConnectConfig `yaml:"proconnect"` // how people are told to an application of that profile
	Keys       KeyConfig        `yaml:"keys"`

	Registration RegistrationConfig `yaml:"registration"` // of applications by themselves

	// Kick closes the mail connections of people who have signed out.
	Kick KickConfig `yaml:"kick"`

	// Applications stand in the configuration file and are changed only there.
	Applications []Client `yaml:"applications"`
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.CodeLife, time.Minute}, {&c.AccessLife, 15 * time.Minute}, {&c.IDTokenLife, 15 * time.Minute},
		{&c.RefreshLife, 30 * 24 * time.Hour}, {&c.OfflineMost, 180 * 24 * time.Hour}, {&c.SessionMost, 24 * time.Hour},
		{&c.RefreshGrace, 10 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.LeastAssured == 0 {
		c.LeastAssured = 1
	}
	c.Keys = c.Keys.withDefaults()
	c.Registration = c.Registration.withDefaults()
	return c
}

// Validate returns every mistake, each naming its key.
func (c Config) Validate() []error {
	var all []error
	u, err := url.Parse(c.Issuer)
	switch {
	case c.Issuer == "" || err != nil || u.Host == "":
		all = append(all, errors.New("issuer: must be the provider's address, https://id.example.org"))
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		all = append(all, errors.New("issuer: must be https, http only on loopback"))
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Path != "":
		all = append(all, errors.New("issuer: only scheme, host and port, without a slash at the end"))
	}
	d := c.withDefaults()
	for _, b := range []struct {
		key              string
		value, low, high time.Duration
	}{
		{"code_life", d.CodeLife, 10 * time.Second, 10 * time.Minute},
		{"access_life", d.AccessLife, time.Minute, 24 * time.Hour},
		{"id_token_life", d.IDTokenLife, time.Minute, 24 * time.Hour},
		{"refresh_life", d.RefreshLife, time.Hour, 366 * 24 * time.Hour},
		{"offline_most", d.OfflineMost, d.RefreshLife, 5 * 366 * 24 * time.Hour},
		{"session_most", d.SessionMost, time.Hour, 7 * 24 * time.Hour},
		{"refresh_grace", d.RefreshGrace, time.Second, time.Minute},
	} {
		if b.value < b.low || b.value > b.high {
			all = append(all, fmt.Errorf("%s: %s is outside %s to %s", b.key, b.value, b.low, b.high))
		}
	}
	if d.LeastAssured < 1 || d.LeastAssured > 2 {
		all = append(all, errors.New("assurance: must be 1 (password) or 2 (a second factor)"))
	}
	all = append(all, c.Keys.validate(max(d.AccessLife, d.IDTokenLife))...)
	all = append(all, c.Registration.validate()...)
	all = append(all, c.Kick.validate()...)
	for _, name := range c.LocalNames {
		if !hostName.MatchString(name) {
			all = append(all, fmt.Errorf("local_names: %q is not the name of a host", name))
		}
	}
	for _, one := range c.Applications {
		all = append(all, one.Validate()...)
	}
	if c.ProConnect.used() || slices.ContainsFunc(c.Applications, Client.isProConnect) {
		_, mistakes := c.ProConnect.open()
		all = append(all, mistakes...)
	}
	return all
}

// gate is the part of signin.Gate used here.
type gate interface {
	Admit(ctx context.Context, person string, app signin.Application, sid string) (directory.Person, error)
	AdmitOffline(ctx context.Context, person string, app signin.Application, proven time.Time) (directory.Person, error)
}

// door is the part of signin.Service used here.
type door interface {
	Begin(w http.ResponseWriter, r *http.Request, req signin.Request) error
	EndSession(ctx context.Context, w http.ResponseWriter, r *http.Request) error
	Local(t time.Time) time.Time
	Highest() signin.Level
}

// Dependencies is what a Provider is made of. All are needed but
// Clients, Log and Now.
type Dependencies struct {
	DB        *db.DB
	Sealer    *secret.Sealer
	Audit     *audit.Log
	Directory directory.Directory
	Gate      gate
	SignIn    door
	Clients   *Clients // nil: opened with Config.Applications
	Config    Config
	Log       *slog.Logger
	Now       func() time.Time
}

// Provider answers the routes above.
type Provider struct {
	cfg       Config
	sealer    *secret.Sealer
	audit     *audit.Log
	directory directory.Directory
	gate      gate
	signin    door
	clients   *Clients
	log       *slog.Logger
	now       func() time.Time
	store     *store
	keys      *Keys
	salt      []byte // of pairwise subjects
	outside   *outside
	foreign   *foreignKeys
	fetches   fetching
	engine    *fosite.Fosite
	discovery []byte

	proconnect *proconnect
	woken      chan struct{} // Notify has something to do
	kick       *kick         // nil: no mail server is told
}

// New makes a Provider, creating the signing keys at the first start.
func New(d Dependencies) (*Provider, error) {
	ctx := context.Background()
	if err := errors.Join(d.Config.Validate()...); err != nil {
		return nil, err
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	cfg := d.Config.withDefaults()
	if d.Clients == nil {
		var err error
		if d.Clients, err = OpenClients(ctx, d.DB, d.Audit, cfg.Applications, cfg.LeastAssured, d.Now); err != nil {
			return nil, err
		}
	}
	keys, err := openKeys(ctx, &Keys{db: d.DB, sealer: d.Sealer, audit: d.Audit, cfg: cfg.Keys, log: d.Log, now: d.Now})
	if err != nil {
		return nil, err
	}
	salt, err := openSalt(ctx, d.DB, d.Sealer, d.Now)
	if err != nil {
		return nil, err
	}
	out, err := cfg.outside()
	if err != nil {
		return nil, err
	}
	p := &Provider{
		outside: out, foreign: &foreignKeys{outside: out, now: d.Now},
		cfg: cfg, sealer: d.Sealer, audit: d.Audit, directory: d.Directory, gate: d.Gate, signin: d.SignIn, clients: d.Clients, log: d.Log, now: d.Now, keys: keys, salt: salt,
		store: &store{db: d.DB, now: d.Now, grace: cfg.RefreshGrace, jti: keys.jti}, woken: make(chan struct{}, 1),
	}
	if p.kick, err = cfg.Kick.open(); err != nil {
		return nil, err
	}
	p.proconnect, _ = cfg.ProConnect.open() // found sound by Validate, or unused
	if cfg.Registration.Mode == RegistrationOpen {
		d.Log.Warn("anybody may register an application here: provider.registration.mode is open")
	}
	p.engine = p.newEngine()
	if p.discovery, err = p.discoveryDocument(); err != nil {
		return nil, err
	}
	return p, nil
}

// Clients is the registry that the provider reads.
func (p *Provider) Clients() *Clients { return p.clients }

// Keys are the signing keys.
func (p *Provider) Keys() *Keys { return p.keys }

// Sweep removes what has expired and returns how many rows that was.
func (p *Provider) Sweep(ctx context.Context) (int64, error) {
	var n int64
	for _, part := range []func(context.Context) (int64, error){p.store.sweep, p.store.sweepPushed, p.store.sweepNotices, p.sweepMailboxes, p.clients.sweep} {
		more, err := part(ctx)
		n += more
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
