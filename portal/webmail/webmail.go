// Package webmail is the portal's mail: it reads the person's mailboxes over
// IMAP and sends through submission, both with one token made for that purpose.
//
// It promises: a mail server that hangs, drops or answers nonsense costs the
// request an honest page within its time, never a hang and never another
// person's connection (pool.go); whatever a stranger wrote is shown without
// script, without fetching anything and in a document of its own (sanitize.go,
// document.go); a message accepted by the send button is not lost, nor filed
// twice, whatever is killed when (outbox.go). Every page works without script.
//
// The portal mounts it as a module. Mailboxes stand in addresses as slugs
// (mailboxes.go), messages as "UIDVALIDITY.UID".
package webmail

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/internal/web"
	"beffroi/portal"
	"beffroi/portal/webmail/bigfile"
)

// Dependencies are the parts that New needs.
type Dependencies struct {
	Config   portal.MailConfig
	Origin   string // of the portal, that frames strangers' documents
	DB       *db.DB
	Sealer   *secret.Sealer
	Location *time.Location // of the dates shown; nil for UTC
	Log      *slog.Logger
	Now      func() time.Time
	Contacts func(ctx context.Context, text string, n int) ([]portal.Contact, error) // of the person's own books; nil for none
}

// Module is the webmail as the portal mounts it.
type Module struct{ s *service }

// host is what the webmail needs of the portal.
type host interface {
	Signed(h web.Handler) http.Handler
	TokenFor(ctx context.Context, audience string) (token string, expires time.Time, err error)
	Refused(ctx context.Context, token string)
	As(ctx context.Context, sid string) (context.Context, error)
	Of(ctx context.Context, person string) (context.Context, error)
	Check(ctx context.Context) error
	People(ctx context.Context, text string) ([]portal.Colleague, error)
	Public(h web.Handler) http.Handler
	Mandate(w http.ResponseWriter, r *http.Request, next string) error
	EndMandates(ctx context.Context, person string) error
	calendars
	Record(ctx context.Context, action, target string, detail map[string]string) error
	Preference(ctx context.Context, name string) (string, error)
	SetPreference(ctx context.Context, name, value string) error
}

// service holds the parts of the module.
type service struct {
	host       host
	person     func(ctx context.Context) portal.Person
	session    func(ctx context.Context) string // names it
	contacts   func(ctx context.Context, text string, n int) ([]portal.Contact, error)
	config     portal.MailConfig
	submission endpoint
	sieve      endpoint // no address: no filters
	large      bigfile.Store
	scanner    *bigfile.Scanner
	signers    *x509.CertPool // authorities of signatures, nil for those of the system
	pools      *Pools
	watchers   *Pools // connections that wait for new mail, one of each person
	live       live
	summaries  summaries
	poison     poison
	badges     badges
	quotas     quotas
	followed   following
	db         *db.DB
	sealer     *secret.Sealer
	location   *time.Location
	log        *slog.Logger
	now        func() time.Time
	submitFor  time.Duration
	searchFor  searchFor
	beat       time.Duration // a stream of events is checked, and shown to be alive, this often

	contentOrigin, portalOrigin string        // of strangers' documents, "" for the portal's; of the pages around them
	pictures                    *http.Client  // fetches remote pictures
	fetching                    chan struct{} // as many at once
	checking                    sync.Map      // large files that the virus scanner looks at

	work        sync.WaitGroup // messages being delivered
	stop        context.CancelFunc
	life        context.Context
	repeats     atomic.Int64 // submissions repeated because their fate was unknown
	afterSubmit func()       // tests kill here: accepted, not yet written down
}

// New checks the configuration and makes the module. It reaches no server.
func New(d Dependencies) (*Module, error) {
	c := d.Config
	if c.Audience == "" {
		c.Audience = "imap"
	}
	if c.IMAPTLS == "" {
		c.IMAPTLS = "tls"
	}
	if c.SubmissionTLS == "" {
		c.SubmissionTLS = "tls"
	}
	if c.Timeout <= 0 {
		c.Timeout = 15 * time.Second
	}
	if c.MaxMessage <= 0 {
		c.MaxMessage = 28 << 20 // 20 MB of files, encoded
	}
	if c.Connections <= 0 {
		c.Connections = 4
	}
	if c.Undo == 0 {
		c.Undo = 10 * time.Second
	}
	s := &service{config: c, contacts: d.Contacts, db: d.DB, sealer: d.Sealer, location: d.Location, log: d.Log, now: d.Now, person: portal.Who, session: portal.SessionID, submitFor: 40 * time.Second, searchFor: searchFor{text: 6 * time.Second, headers: 4 * time.Second}, beat: 20 * time.Second,
		pictures: pictureClient(onlyInternet), fetching: make(chan struct{}, picturesAtOnce)}
	if s.location == nil {
		s.location = time.UTC
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.contentOrigin, err = originOf(c.Content.BaseURL); err != nil {
		return nil, err
	}
	if s.portalOrigin, err = originOf(d.Origin); err != nil {
		return nil, err
	}
	auth, err := newSignIn(c)
	if err != nil {
		return nil, err
	}
	imap, err := newEndpoint(c.IMAP, c.IMAPTLS, c.ServerName, c.CAFile)
	if err != nil {
		return nil, err
	}
	if s.submission, err = newEndpoint(c.Submission, c.SubmissionTLS, c.ServerName, c.CAFile); err != nil {
		return nil, err
	}
	if c.Sieve != "" {
		if c.SieveTLS == "" {
			c.SieveTLS = "starttls"
		}
		if s.sieve, err = newEndpoint(c.Sieve, c.SieveTLS, c.ServerName, c.CAFile); err != nil {
			return nil, err
		}
	}
	if s.signers, err = openSigners(c.SignersFile); err != nil {
		return nil, fmt.Errorf("signers_file: %w", err)
	}
	imap.auth, s.submission.auth, s.sieve.auth = auth, auth, auth
	if err := s.openFiles(); err != nil {
		return nil, err
	}
	s.pools = newPools(imap, limits{perPerson: c.Connections, total: 1000, idle: 4 * time.Minute, use: c.Timeout}, s.now)
	s.watchers = newPools(imap, limits{perPerson: 1, total: watchMost, idle: time.Minute, use: watchLife}, s.now)
	s.summaries.now, s.badges.now = s.now, s.now
	s.life, s.stop = context.WithCancel(context.Background())
	return &Module{s}, nil
}

// Name is the first segment of the module's paths.
func (m *Module) Name() string { return "mail" }

// Badge is the path of the launcher's fragment: how many messages are unread.
func (m *Module) Badge() string { return "/mail/badge" }

// Forget closes the mail connections of somebody who has signed out.
func (m *Module) Forget(person string) {
	m.s.pools.Forget(person)
	m.s.watchers.Forget(person)
}

// Mount adds the routes to the portal.
func (m *Module) Mount(p *portal.Portal, mux web.Mux) { m.s.mount(p, mux) }

func (s *service) mount(h host, mux web.Mux) {
	s.host = h
	page := func(pattern string, handler web.Handler) { mux.Handle(pattern, h.Signed(s.honest(handler))) }

	page("GET /mail/{$}", s.inbox)
	page("GET /mail/badge", s.badge)
	page("GET /mail/compose", s.compose)
	page("POST /mail/compose", web.MaxBody(maxUpload+maxWritten+1<<20, s.composed))
	page("GET /mail/search", s.search)
	page("POST /mail/searches", s.postSearches)
	page("GET /mail/recipients", s.recipients)
	page("GET /mail/events", s.events)
	page("GET /mail/outbox", s.showOutbox)
	page("GET /mail/scheduled", s.showScheduled)
	page("POST /mail/{box}/snooze", s.postSnooze)
	page("POST /mail/outbox", s.outboxAction)
	page("POST /mail/reminders", s.postReminders)
	page("POST /mail/undo", s.undo)
	page("GET /mail/quota", s.showQuota)
	page("GET /mail/settings", s.showSettings)
	if s.sieve.address != "" {
		page("GET /mail/filters", s.showFilters)
		page("POST /mail/filters", s.postFilters)
		page("GET /mail/filters/edit", s.editFilter)
		page("POST /mail/filters/edit", s.postFilter)
		page("GET /mail/absence", s.showAbsence)
		page("POST /mail/absence", s.postAbsence)
	}
	if s.large != nil {
		page("GET /mail/files", s.showFiles)
		page("POST /mail-files", s.beginFile)
		page("GET /mail-files/{id}", s.fileAt)
		page("PATCH /mail-files/{id}", web.MaxBody(pieceMost+1, s.filePiece))
		page("DELETE /mail-files/{id}", s.dropFile)
		page("POST /mail-files/{id}/check", s.checkAgain)
		page("POST /mail-files/{id}/remove", s.dropFile)
		page("GET /mail-files/{id}/content", s.takeFile)
		page("POST /mail/drops", s.postDrops)
		mux.Handle("GET /d/{token}", h.Public(s.showDrop))
		mux.Handle("POST /d/{token}", h.Public(web.MaxBody(s.config.Files.Total+1<<20, s.postDrop)))
		mux.Handle("GET /f/{token}", h.Public(s.showGuest))
		mux.Handle("POST /f/{token}", h.Public(s.giveFile))
		mux.Handle("GET /f/{token}/file", h.Public(s.giveFile))
	}
	page("GET /mail/texts", s.showTexts)
	page("POST /mail/texts", s.postTexts)
	page("GET /mail/identities", s.showIdentities)
	page("POST /mail/identities", s.postIdentities)
	page("GET /mail/labels", s.showLabels)
	page("POST /mail/labels", s.postLabels)
	page("GET /mail/pictures", s.showSenders)
	page("POST /mail/pictures", s.postSenders)
	page("GET /mail/import", s.showImport)
	page("POST /mail/import", web.MaxBody(importMost, s.postImport))
	page("GET /mail/{box}/export", s.exportBox)
	page("GET /mail/notifications", s.showNotify)
	page("POST /mail/notifications", s.postNotify)
	page("GET /mail/shares", s.showShares)
	page("GET /mail/{box}/share", s.showShare)
	page("POST /mail/{box}/share", s.postShare)
	page("GET /mail/{box}/{$}", s.list)
	page("POST /mail/{box}/do", s.act)
	page("GET /mail/{box}/{ref}", s.read)
	page("GET /mail/{box}/{ref}/document", s.document)
	page("GET /mail/{box}/{ref}/conversation", s.showConversation)
	page("GET /mail/{box}/{ref}/sender", s.showSender)
	page("GET /mail/{box}/{ref}/signature", s.showSignature)
	page("POST /mail/{box}/{ref}/receipt", s.postReceipt)
	page("POST /mail/{box}/{ref}/invitation", s.postInvitation)
	page("GET /mail/{box}/{ref}/message/{section}", s.showEmbedded)
	page("POST /mail/{box}/{ref}/pictures", s.postPictures)
	page("POST /mail/{box}/{ref}/unsubscribe", s.postUnsubscribe)
	page("GET /mail/{box}/{ref}/files.zip", s.allFiles)
	page("GET /mail/{box}/{ref}/source", s.source)
	page("GET /mail/{box}/{ref}/part/{section}", s.download)
}

// Close stops what runs in the background: a message being sent is finished or
// left in the outbox for the next visit.
func (m *Module) Close() {
	m.s.stop()
	m.s.work.Wait()
	m.s.pools.Close()
	m.s.watchers.Close()
}

// Repeats counts the submissions that were repeated with the same Message-ID
// because nobody knew whether the first one had arrived.
func (m *Module) Repeats() int64 { return m.s.repeats.Load() }

// Watched is for how many people new mail is waited for, and by how many browsers.
func (m *Module) Watched() (people, streams int) { return m.s.live.watched() }

// owner is the person of the request with a fresh token.
func (s *service) owner(ctx context.Context) (owner, error) {
	who := s.person(ctx)
	if !s.submission.auth.tokens() { // the session stands for the token
		if err := s.host.Check(ctx); err != nil {
			return owner{}, err
		}
		return owner{sub: who.Sub, login: who.Login, token: "master", expires: s.now().Add(time.Hour)}, nil
	}
	token, expires, err := s.host.TokenFor(ctx, s.config.Audience)
	if err != nil {
		return owner{}, err
	}
	return owner{sub: who.Sub, login: who.Login, token: token, expires: expires}, nil
}

// with runs f for the person. A token that the mail server refuses is fetched
// again once: it may have been revoked before its end.
func (s *service) with(ctx context.Context, f func(owner) error) error {
	who, err := s.owner(ctx)
	if err != nil {
		return err
	}
	err = f(who)
	if !errors.Is(err, errSignIn) {
		return err
	}
	s.host.Refused(ctx, who.token)
	again, err2 := s.owner(ctx)
	if err2 != nil || again.token == who.token {
		return errors.Join(err, err2)
	}
	return f(again)
}

// honest turns what a mail server did into the sentence for it.
func (s *service) honest(h web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error { return failure(h(w, r)) }
}

func failure(err error) error {
	var said *web.Error
	switch {
	case err == nil, errors.As(err, &said), errors.Is(err, portal.ErrSignedOut), errors.Is(err, portal.ErrUnavailable), errors.Is(err, portal.ErrRefused):
		return err
	case errors.Is(err, errGone):
		return web.Fail(http.StatusNotFound, "webmail.error.gone", err)
	case errors.Is(err, errReadOnly), refusedCode(err) == imap.ResponseCodeNoPerm:
		return web.Fail(http.StatusForbidden, "webmail.error.readonly", err)
	case errors.Is(err, errSignIn):
		return web.Fail(http.StatusBadGateway, "webmail.error.signin", err)
	case errors.Is(err, errBusy):
		return web.Fail(http.StatusServiceUnavailable, "webmail.error.busy", err)
	case errors.Is(err, errDown) && errors.Is(err, context.DeadlineExceeded):
		return web.Fail(http.StatusGatewayTimeout, "webmail.error.slow", err)
	case errors.Is(err, errDown):
		return web.Fail(http.StatusBadGateway, "webmail.error.down", err)
	case keepsConnection(err):
		return web.Fail(http.StatusBadGateway, "webmail.error.refused", err)
	}
	return err
}

// refusedCode is the reason in a NO of the mail server (RFC 5530), "" without one.
func refusedCode(err error) imap.ResponseCode {
	var no *imap.Error
	if errors.As(err, &no) {
		return no.Code
	}
	return ""
}

// parsePath reads "/mail/BOX/KEY", the form in which a page or a draft names a
// message.
func parsePath(path string) (ref, error) {
	rest, ok := strings.CutPrefix(path, "/mail/")
	box, key, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return ref{}, fmt.Errorf("%w: %q", errGone, path)
	}
	name, err := url.PathUnescape(box)
	if err != nil {
		return ref{}, fmt.Errorf("%w: %q", errGone, path)
	}
	return parseRef(unslug(name), key)
}

func escapePath(s string) string { return url.PathEscape(s) }

// boxPath is the address of a mailbox.
func boxPath(name string) string { return "/mail/" + escapePath(slug(name)) + "/" }

// composeTo is the address that begins a message to somebody.
func composeTo(mail string) string { return "/mail/compose?to=" + url.QueryEscape(mail) }
