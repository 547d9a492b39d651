package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"beffroi/directory"
	"beffroi/helpdesk"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/mailer"
	"beffroi/internal/secret"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/oidc"
	"beffroi/portal"
	"beffroi/portal/agenda"
	"beffroi/portal/contacts"
	"beffroi/portal/webmail"
	"beffroi/signin"
	"beffroi/templates"
)

// machinePaths are answered under any host name: no cookie is read there.
var machinePaths = []string{
	"/oauth2/token", "/oauth2/par", "/oauth2/introspect", "/oauth2/revoke", "/oauth2/device_authorization", "/oauth2/register", "/userinfo", "/api/",
}

func runServe(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(out)
	where := configFlags(flags)
	if err := flags.Parse(args); err != nil {
		return usageError(err)
	}
	cfg, done, err := where.load(ctx)
	if err != nil {
		return err
	}
	defer done()
	log, err := logger(cfg.Log, os.Stderr)
	if err != nil {
		return err
	}
	h, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer h.close()
	if err := h.listen(); err != nil {
		return err
	}
	log.Info("ready", "provider", cfg.Provider.Issuer, "portal", cfg.Portal.BaseURL, "version", version)
	h.work(ctx)
	return nil
}

// house is every part of a running Beffroi.
type house struct {
	cfg *Config
	log *slog.Logger
	now func() time.Time

	db, portalDB *db.DB // the same when the portal has none of its own
	sealer       *secret.Sealer
	audit        *audit.Log

	directory *directory.LDAP
	mfa       *mfa.Service
	sessions  *session.Store
	signin    *signin.Service
	clients   *oidc.Clients
	provider  *oidc.Provider
	desk      *helpdesk.Desk
	mail      *mailer.Outbox // nil: people are told nothing
	portal    *portal.Portal
	webmail   *webmail.Module // nil: there is none

	sites     []*web.Site
	servers   []*web.Server
	doors     []door
	listening map[string]string // the addresses of doors, by name
	sweeps    []sweep
	workers   []func(ctx context.Context) // run until ctx ends
	closers   []func()
}

// door is an address and what answers there.
type door struct {
	name, addr string
	handler    http.Handler
	routes     *routes
}

// routes is a mux that can tell what was mounted: a test asks of each route who
// may call it.
type routes struct {
	mux      *http.ServeMux
	patterns []string
}

func newRoutes() *routes { return &routes{mux: http.NewServeMux()} }

// Handle implements web.Mux.
func (r *routes) Handle(pattern string, h http.Handler) {
	r.patterns = append(r.patterns, pattern)
	r.mux.Handle(pattern, h)
}

// sweep removes what has expired.
type sweep struct {
	name string
	run  func(ctx context.Context) (int64, error)
}

// open builds every part of the configuration, from the bottom up, and serves
// nothing yet.
func open(ctx context.Context, cfg *Config, log *slog.Logger) (h *house, err error) {
	h = &house{cfg: cfg, log: log, now: time.Now}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if err := web.LoadPages(); err != nil {
		return nil, err
	}
	if h.sealer, err = secret.LoadSealer(cfg.SealKeyFile); err != nil {
		return nil, err
	}
	if cfg.Provider.Listen != "" {
		if err := h.openProvider(ctx); err != nil {
			return nil, err
		}
	}
	if cfg.Portal.Listen != "" {
		if err := h.openPortal(ctx); err != nil {
			return nil, err
		}
	}
	if cfg.Admin == "" {
		cfg.Admin = "127.0.0.1:9090"
	}
	if cfg.Admin != "none" {
		inner := h.admin()
		h.doors = append(h.doors, door{"admin", cfg.Admin, inner.mux, inner})
	}
	return h, nil
}

// openDB opens and migrates one database; opened twice it is the same one.
func (h *house) openDB(ctx context.Context, address, file string) (*db.DB, error) {
	resolved, err := databaseAddress(address, file)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	d, err := db.Open(ctx, resolved)
	if err != nil {
		return nil, err
	}
	h.closers = append(h.closers, func() { _ = d.Close() })
	if err := d.Migrate(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// openProvider joins directory, second factors, sign-in and protocols.
func (h *house) openProvider(ctx context.Context) error {
	if err := h.openIdentity(ctx); err != nil {
		return err
	}
	c := h.cfg.Provider
	base, err := url.Parse(c.Issuer)
	if err != nil {
		return fmt.Errorf("provider.issuer: %w", err)
	}
	site, err := h.site("provider", base, h.db, h.sessions, signin.PersonInfo)
	if err != nil {
		return err
	}
	mux := newRoutes()
	common(mux, site)
	h.signin.Mount(mux, site)
	h.provider.Mount(mux, site)
	var codes helpdesk.Codes
	if h.mfa.MailCodes() {
		codes = h.signin.DeskCodes()
	}
	if h.desk, err = helpdesk.New(helpdesk.Dependencies{
		Codes: codes, DB: h.db, Sealer: h.sealer, Audit: h.audit, Directory: h.directory, MFA: h.mfa, SignIn: h.signin, Roll: h.directory, Name: h.cfg.Name, Address: c.Issuer, Contact: c.SignIn.HelpdeskContact, Config: c.Helpdesk, Zone: h.signin.Zone(), Log: h.log, Now: h.now,
	}); err != nil {
		return err
	}
	h.desk.Mount(mux, site)
	h.workers = append(h.workers, func(ctx context.Context) {
		h.mfa.ReadImports(ctx, func(err error) { h.log.Error("read a file of OTP keys", "error", err) })
	})
	h.desk.MountAPI(mux, site, h.provider, strings.TrimRight(c.Issuer, "/"))
	for _, warning := range c.Helpdesk.Warnings(h.now()) {
		h.log.Warn(warning)
	}
	mux.Handle("GET /{$}", site.Browser(func(w http.ResponseWriter, r *http.Request) error {
		return web.Redirect(w, r, "/account")
	}))
	h.keepTrail(h.db)
	if h.mail == nil {
		h.log.Warn("provider.mail is not configured: people are not told of changes to their account")
	} else {
		h.workers = append(h.workers, h.mail.Run)
		h.sweeps = append(h.sweeps, sweep{"messages", h.mail.Sweep})
	}
	h.doors = append(h.doors, door{"provider", c.Listen, web.OnHost(base, site.Routes(mux.mux), machinePaths...), mux})
	h.sweeps = append(h.sweeps, sweep{"flows", h.signin.Sweep}, sweep{"tokens", h.provider.Sweep}, sweep{"helpdesk", h.desk.Sweep}, sweep{"OTP keys", h.mfa.SweepKeys}, sweep{"signing keys", h.provider.RotateKeys}, sweep{"provider sessions", h.signin.SweepSessions})
	h.workers = append(h.workers, h.provider.Notify, h.signin.Watch)
	return nil
}

// openIdentity builds what the provider and the commands share: who people are
// and what they hold, without any page.
func (h *house) openIdentity(ctx context.Context) (err error) {
	if h.db, err = h.openDB(ctx, h.cfg.Database, h.cfg.DatabaseFile); err != nil {
		return err
	}
	h.audit = audit.New(h.db, h.now)
	settings := h.cfg.Directory
	settings.Log = h.log
	if h.directory, err = directory.Open(settings, h.now); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	h.closers = append(h.closers, h.directory.Close)
	c := h.cfg.Provider
	h.mfa = mfa.New(h.db, h.sealer, h.audit, mfa.Config{Issuer: h.cfg.Name, Passes: c.Passes, Keys: c.OTPKeys, MailCodes: c.MailCodes}, h.now)
	if err := h.mfa.UsePasskeys(c.Issuer, c.Passkeys); err != nil {
		return err
	}
	h.sessions = session.New(h.db, session.Config{
		Site: "provider", Secure: strings.HasPrefix(c.Issuer, "https:"), Idle: c.Session.Idle, Absolute: c.Session.Absolute, Now: h.now,
	})
	var teller signin.Teller
	if c.Mail.Configured() {
		if h.mail, err = mailer.New(h.db, h.sealer, c.Mail, h.mailOf, h.log, h.now); err != nil {
			return fmt.Errorf("provider.%w", err)
		}
		teller = h.mail
	}
	if h.signin, err = signin.New(signin.Dependencies{
		Teller: teller, DB: h.db, Audit: h.audit, Directory: h.directory, MFA: h.mfa, Sessions: h.sessions, Address: c.Issuer, Config: c.SignIn, Log: h.log, Now: h.now,
	}); err != nil {
		return err
	}
	if h.clients, err = oidc.OpenClients(ctx, h.db, h.audit, c.Applications, c.LeastAssured, h.now); err != nil {
		return err
	}
	if h.provider, err = oidc.New(oidc.Dependencies{
		DB: h.db, Sealer: h.sealer, Audit: h.audit, Directory: h.directory, Gate: h.signin.Gate(), SignIn: h.signin,
		Clients: h.clients, Config: c.Config, Log: h.log, Now: h.now,
	}); err != nil {
		return err
	}
	h.signin.Register(oidc.Protocol, h.provider.Finisher())
	h.signin.Register(oidc.DeviceProtocol, h.provider.DeviceFinisher())
	h.signin.OnEnd(h.provider.SessionEnded)
	h.signin.OnLeave(h.provider.Frames)
	h.signin.AlsoHolds(h.provider)
	return nil
}

// openPortal joins the relying party and its modules. It knows the provider by
// its address only, also when both run in this process.
func (h *house) openPortal(ctx context.Context) (err error) {
	c := h.cfg.Portal
	h.portalDB = h.db
	if c.Database != "" || c.DatabaseFile != "" || h.db == nil {
		address, file := c.Database, c.DatabaseFile
		if address == "" && file == "" {
			address, file = h.cfg.Database, h.cfg.DatabaseFile
		}
		if h.portalDB, err = h.openDB(ctx, address, file); err != nil {
			return fmt.Errorf("portal: %w", err)
		}
	}
	base, err := url.Parse(c.BaseURL)
	if err != nil {
		return fmt.Errorf("portal.base_url: %w", err)
	}
	sessions := session.New(h.portalDB, session.Config{
		Site: "portal", Secure: base.Scheme == "https", Idle: c.Session.Idle, Absolute: c.Session.Absolute, Now: h.now,
	})
	site, err := h.site("portal", base, h.portalDB, sessions, signedInAtPortal)
	if err != nil {
		return err
	}
	var modules []portal.Module
	var mail *webmail.Module
	books := contacts.New()
	if c.Mail.IMAP != "" {
		own := books.Find
		if c.DAV.CardDAV == "" {
			own = nil
		}
		mail, err = webmail.New(webmail.Dependencies{
			Config: c.Mail, Origin: c.BaseURL, DB: h.portalDB, Sealer: h.sealer, Location: c.Location(), Log: h.log, Now: h.now, Contacts: own,
		})
		if err != nil {
			return fmt.Errorf("portal.mail: %w", err)
		}
		h.webmail = mail
		h.closers = append(h.closers, mail.Close)
		h.sweeps = append(h.sweeps, sweep{"mail followed", mail.Sweep})
		h.workers = append(h.workers, mail.Run)
		modules = append(modules, mail)
	}
	if c.DAV.CalDAV != "" {
		modules = append(modules, agenda.New())
	}
	if c.DAV.CardDAV != "" {
		modules = append(modules, books)
	}
	h.portal, err = portal.New(portal.Dependencies{
		Config: c.Config, DB: h.portalDB, Sealer: h.sealer, Audit: audit.New(h.portalDB, h.now), Sessions: sessions, Site: site, Log: h.log, Now: h.now,
	}, modules...)
	if err != nil {
		return err
	}
	h.closers = append(h.closers, h.portal.Close)
	if h.portalDB != h.db {
		h.keepTrail(h.portalDB)
	}
	mux := newRoutes()
	common(mux, site)
	h.portal.Mount(mux)
	pages := web.OnHost(base, site.Routes(mux.mux))
	if mail != nil && c.Mail.Content.BaseURL != "" {
		if pages, err = h.openContent(mail, pages); err != nil {
			return err
		}
	}
	h.doors = append(h.doors, door{"portal", c.Listen, pages, mux})
	h.sweeps = append(h.sweeps, sweep{"portal sessions", sessions.Sweep}, sweep{"portal sign-outs", h.portal.Sweep})
	return nil
}

// openContent joins the origin of strangers' mail documents: at an address of its
// own, or beside the portal's pages, told apart by the host name.
func (h *house) openContent(mail *webmail.Module, pages http.Handler) (http.Handler, error) {
	c := h.cfg.Portal.Mail.Content
	base, err := url.Parse(c.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("portal.mail.content.base_url: %w", err)
	}
	site, err := h.site("content", base, h.portalDB, nil, nil)
	if err != nil {
		return nil, err
	}
	mux := newRoutes()
	mail.Content(site, mux)
	content := web.OnlyHost(base, mux.mux)
	h.doors = append(h.doors, door{"mail content", c.Listen, content, mux})
	if c.Listen != "" {
		return pages, nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == base.Host {
			content.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	}), nil
}

func (h *house) site(kind string, base *url.URL, d *db.DB, sessions *session.Store, person func(context.Context) *templates.PersonInfo) (*web.Site, error) {
	proxies, err := h.cfg.proxies()
	if err != nil {
		return nil, fmt.Errorf("trusted_proxies: %w", err)
	}
	c := web.SiteConfig{
		Kind: kind, Name: h.cfg.Name, BaseURL: base, Sessions: sessions, Audit: audit.New(d, h.now), TrustedProxies: proxies, Log: h.log, Person: person,
		ProviderURL: strings.TrimRight(h.cfg.Provider.Issuer, "/"), PortalURL: strings.TrimRight(h.cfg.Portal.BaseURL, "/"),
	}
	if kind == "portal" {
		c.ProviderURL = strings.TrimRight(h.cfg.Portal.Issuer, "/")
		c.FormAction = []string{c.ProviderURL} // signing out and signing in again lead there
		c.FrameSrc = []string{"'self'"}        // the mail document
		if content := h.cfg.Portal.Mail.Content.BaseURL; content != "" {
			c.FrameSrc = []string{strings.TrimRight(content, "/")}
		}
	} else if c.PortalURL != "" {
		c.FormAction = []string{c.PortalURL} // where signing out may lead back to
	}
	s := web.NewSite(c)
	h.sites = append(h.sites, s)
	return s, nil
}

// mailOf is a person's address, as the directory says now.
func (h *house) mailOf(ctx context.Context, id string) (string, error) {
	p, err := h.directory.ByID(ctx, id)
	if errors.Is(err, directory.ErrUnknown) {
		return "", nil
	}
	return p.Mail, err
}

// keepTrail chains the audit trail of a database, and removes what is over.
func (h *house) keepTrail(d *db.DB) {
	chain := audit.NewChain(audit.New(d, h.now), h.sealer, h.log)
	h.workers = append(h.workers, chain.Run, func(ctx context.Context) {
		tick := time.NewTicker(time.Hour)
		defer tick.Stop()
		for {
			if counts, err := chain.Purge(ctx, audit.System("retention"), h.cfg.Audit.Keep); err != nil && ctx.Err() == nil {
				h.log.Error("remove what is over from the audit trail", "error", err)
			} else if len(counts) > 0 {
				h.log.Info("removed from the audit trail, its time is over", "rows", counts)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

// common mounts what both sites have.
func common(mux web.Mux, site *web.Site) {
	mux.Handle("GET /static/", web.Static())
	mux.Handle("POST /language", site.Browser(site.ChooseLanguage))
	mux.Handle("GET /favicon.ico", http.RedirectHandler(web.Asset("favicon.svg"), http.StatusFound))
	mux.Handle("GET /robots.txt", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "User-agent: *\nDisallow: /\n")
	}))
}

// listen takes every address before anything is served.
func (h *house) listen() error {
	for _, d := range h.doors {
		if d.addr == "" {
			continue // answered at another door
		}
		s, err := web.Listen(d.addr, d.handler, h.log)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		h.servers = append(h.servers, s)
		if h.listening == nil {
			h.listening = map[string]string{}
		}
		h.listening[d.name] = s.Addr()
		h.log.Info("listening", "door", d.name, "address", s.Addr())
	}
	return nil
}

// listensAt is the address of a door, with the port that was chosen.
func (h *house) listensAt(name string) string {
	return h.listening[name]
}

// sweepEvery is how often what has expired is removed.
const sweepEvery = time.Minute

// work runs what is done in the background until ctx ends.
func (h *house) work(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait() // before close takes away what they work with
	for _, run := range h.workers {
		wg.Go(func() { run(ctx) })
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, s := range h.sweeps {
				if n, err := s.run(ctx); err != nil && !errors.Is(err, context.Canceled) {
					h.log.Error("sweep", "of", s.name, "error", err)
				} else if n > 0 {
					h.log.Debug("swept", "of", s.name, "rows", n)
				}
			}
		}
	}
}

// close ends what open and listen began, the newest first: requests that run
// have ten seconds to end.
func (h *house) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, s := range h.servers {
		_ = s.Shutdown(ctx)
	}
	h.servers = nil
	for i := len(h.closers) - 1; i >= 0; i-- {
		h.closers[i]()
	}
	h.closers = nil
}

// signedInAtPortal names who is signed in, for the top of the pages.
func signedInAtPortal(ctx context.Context) *templates.PersonInfo {
	p := portal.Who(ctx)
	if p.Sub == "" {
		return nil
	}
	return &templates.PersonInfo{Login: p.Login, Name: p.Name, Mail: p.Mail}
}
