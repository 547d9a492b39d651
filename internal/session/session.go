// Package session keeps who is signed in: a cookie with 256 random bits in the
// browser, their SHA-256 and typed columns in the database. Provider and portal
// have one Store each: two cookies, two origins, no shared secret.
//
// gorilla/sessions gives the cookie its rules (name, flags, age). Its registry
// and its Values map are not used: loaded twice in one request they overwrite
// each other, and saved late they bring a signed-out session back to life
// (docs/decisions/0004). Here a session is loaded once, in web.Browser, and
// saved by compare-and-set; saving never inserts.
package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/sessions"

	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// ErrStale is returned by Save when the session was changed, rotated or ended
// since it was loaded.
var ErrStale = errors.New("session: changed or ended meanwhile")

// touchEvery bounds how often use is written down: idle ends are that inexact.
const touchEvery = time.Minute

// Session is one signed-in browser. SID may be shown to applications (OpenID
// Connect's sid); it is not the cookie's secret and opens nothing.
type Session struct {
	SID     string
	Person  string
	Data    json.RawMessage // owned by the folder that started it
	Created db.Time
	Seen    db.Time
	Ends    db.Time

	hash    string
	version int64
}

// Config is what differs between the two sites.
type Config struct {
	Site     string // "provider" or "portal"
	Secure   bool   // https: the cookie is __Host- and Secure
	Idle     time.Duration
	Absolute time.Duration
	Now      func() time.Time
}

// Store loads, starts and ends the sessions of one site.
type Store struct {
	db      *db.DB
	cfg     Config
	name    string
	options sessions.Options
}

// New makes a Store. Zero durations mean 2 hours idle and 12 hours in all.
func New(d *db.DB, c Config) *Store {
	if c.Idle == 0 {
		c.Idle = 2 * time.Hour
	}
	if c.Absolute == 0 {
		c.Absolute = 12 * time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	name := "beffroi_" + c.Site
	if c.Secure {
		name = "__Host-" + name
	}
	return &Store{db: d, cfg: c, name: name, options: sessions.Options{
		Path: "/", HttpOnly: true, Secure: c.Secure, SameSite: http.SameSiteLaxMode,
		// No MaxAge: the cookie ends with the browser, the row by itself.
	}}
}

// CookieName is the name of the site's cookie.
func (s *Store) CookieName() string { return s.name }

// Secure tells whether the site is served over https.
func (s *Store) Secure() bool { return s.cfg.Secure }

type contextKey struct{}

// With puts the session of the request in the context.
func With(ctx context.Context, sess *Session) context.Context {
	return context.WithValue(ctx, contextKey{}, sess)
}

// From returns the session of the request, nil when nobody is signed in.
func From(ctx context.Context) *Session {
	s, _ := ctx.Value(contextKey{}).(*Session)
	return s
}

const columns = "sid, person, data, created, seen, ends, version, secret_hash"

func scanSession(scan func(...any) error) (*Session, error) {
	s := &Session{}
	var data string
	if err := scan(&s.SID, &s.Person, &data, &s.Created, &s.Seen, &s.Ends, &s.version, &s.hash); err != nil {
		return nil, err
	}
	s.Data = json.RawMessage(data)
	return s, nil
}

// background tells whether a page asks by itself, with nobody at it: a stream of
// events, and what scripts mark so. It keeps no session alive, so that an
// unattended computer is signed out with a page open.
func background(r *http.Request) bool {
	return r.Header.Get("Accept") == "text/event-stream" || r.Header.Get("X-Background") != ""
}

// Load returns the living session of the request's cookie, or nil. It notes
// the use at most once a minute, of requests that a person made.
func (s *Store) Load(r *http.Request) (*Session, error) {
	hash := s.cookieHash(r)
	if hash == "" {
		return nil, nil
	}
	sess, err := scanSession(s.db.QueryRow(r.Context(), "SELECT "+columns+" FROM session WHERE secret_hash = $1 AND site = $2", hash, s.cfg.Site).Scan)
	if errors.Is(err, db.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	now := s.cfg.Now()
	if !s.alive(sess, now) {
		return nil, nil
	}
	if now.Sub(sess.Seen.Time) >= touchEvery && !background(r) {
		// Not a change of the session: the version stays.
		if _, err := s.db.Exec(r.Context(), "UPDATE session SET seen = $1 WHERE secret_hash = $2", db.At(now), hash); err != nil {
			return nil, fmt.Errorf("touch session: %w", err)
		}
	}
	return sess, nil
}

func (s *Store) alive(sess *Session, now time.Time) bool {
	return now.Before(sess.Ends.Time) && now.Sub(sess.Seen.Time) < s.cfg.Idle
}

// cookieHash is the row key of the request's cookie, empty without one. Of
// several cookies of the name, none is trusted: one of them was planted.
func (s *Store) cookieHash(r *http.Request) string {
	cookies := r.CookiesNamed(s.name)
	if len(cookies) != 1 || len(cookies[0].Value) != 43 {
		return ""
	}
	return secret.Hash(cookies[0].Value)
}

// Start begins a session for person with a new secret in the place of the one
// that this browser had, in the transaction of ctx when there is one. The same
// person signing in again (step-up) keeps the SID and the absolute end stays
// counted from now.
func (s *Store) Start(ctx context.Context, w http.ResponseWriter, r *http.Request, person string, data any) (*Session, error) {
	body, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("session data: %w", err)
	}
	value := secret.Random()
	now := s.cfg.Now()
	sess := &Session{
		SID: secret.Random()[:22], Person: person, Data: body, Created: db.At(now), Seen: db.At(now),
		Ends: db.At(now.Add(s.cfg.Absolute)), hash: secret.Hash(value), version: 1,
	}
	old := s.cookieHash(r)
	if before := From(r.Context()); before != nil && before.Person == person && secret.Equal(before.hash, old) {
		sess.SID = before.SID
	}
	replace := func(ctx context.Context) error {
		// One row that changes, not one that goes and one that comes: on
		// PostgreSQL a sign-out everywhere that waits for this transaction
		// follows the row, and would not see a new one.
		n, err := s.db.Exec(ctx, `UPDATE session SET secret_hash = $1, sid = $2, person = $3, data = $4, created = $5, seen = $6, ends = $7, version = $8
			WHERE secret_hash = $9 AND site = $10`, sess.hash, sess.SID, sess.Person, string(sess.Data), sess.Created, sess.Seen, sess.Ends, sess.version, old, s.cfg.Site)
		if err != nil {
			return fmt.Errorf("rotate session: %w", err)
		}
		if n > 0 {
			return nil
		}
		// Another tab was faster and has the sid, or the session was ended
		// meanwhile: this one is a session of its own.
		sess.SID = secret.Random()[:22]
		return s.insert(ctx, sess)
	}
	if old == "" {
		err = s.insert(ctx, sess) // one statement needs no transaction of its own
	} else {
		err = s.db.InTx(ctx, replace)
	}
	if err != nil {
		return nil, err
	}
	options := s.options
	http.SetCookie(w, sessions.NewCookie(s.name, value, &options))
	return sess, nil
}

// Keep begins a session that no cookie opens, for what is done while its person is
// away.
func (s *Store) Keep(ctx context.Context, person string, data any) (*Session, error) {
	body, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("session data: %w", err)
	}
	now := s.cfg.Now()
	sess := &Session{SID: secret.Random()[:22], Person: person, Data: body, Created: db.At(now), Seen: db.At(now), Ends: db.At(now.Add(s.cfg.Absolute)), hash: secret.Hash(secret.Random()), version: 1}
	return sess, s.insert(ctx, sess)
}

func (s *Store) insert(ctx context.Context, sess *Session) error {
	_, err := s.db.Exec(ctx, `INSERT INTO session (secret_hash, site, sid, person, data, created, seen, ends, version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, sess.hash, s.cfg.Site, sess.SID, sess.Person, string(sess.Data), sess.Created, sess.Seen, sess.Ends, sess.version)
	if err != nil {
		return fmt.Errorf("start session: %w", err)
	}
	return nil
}

// Save writes new data if nobody else did since sess was loaded; else ErrStale.
func (s *Store) Save(ctx context.Context, sess *Session, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("session data: %w", err)
	}
	n, err := s.db.Exec(ctx, "UPDATE session SET data = $1, version = version + 1 WHERE secret_hash = $2 AND version = $3", string(body), sess.hash, sess.version)
	if err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	if n == 0 {
		return ErrStale
	}
	sess.Data, sess.version = body, sess.version+1
	return nil
}

// Reload reads the session again as it is now; ErrStale when it has ended.
func (s *Store) Reload(ctx context.Context, sess *Session) (*Session, error) {
	fresh, err := scanSession(s.db.QueryRow(ctx, "SELECT "+columns+" FROM session WHERE secret_hash = $1 AND site = $2", sess.hash, s.cfg.Site).Scan)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrStale
	}
	return fresh, err
}

// End ends the session of this browser and clears its cookie.
func (s *Store) End(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	if hash := s.cookieHash(r); hash != "" {
		if _, err := s.db.Exec(ctx, "DELETE FROM session WHERE secret_hash = $1 AND site = $2", hash, s.cfg.Site); err != nil {
			return fmt.Errorf("end session: %w", err)
		}
	}
	options := s.options
	options.MaxAge = -1
	http.SetCookie(w, sessions.NewCookie(s.name, "", &options))
	return nil
}

// EndSID ends one session by its public id; zero rows is no error.
func (s *Store) EndSID(ctx context.Context, sid string) (int64, error) {
	return s.db.Exec(ctx, "DELETE FROM session WHERE site = $1 AND sid = $2", s.cfg.Site, sid)
}

// EndAll ends every session of the person on this site and returns how many.
func (s *Store) EndAll(ctx context.Context, person string) (int64, error) {
	return s.db.Exec(ctx, "DELETE FROM session WHERE site = $1 AND person = $2", s.cfg.Site, person)
}

// Alive returns the living session with this public id, or db.ErrNotFound.
func (s *Store) Alive(ctx context.Context, sid string) (*Session, error) {
	sess, err := scanSession(s.db.QueryRow(ctx, "SELECT "+columns+" FROM session WHERE site = $1 AND sid = $2", s.cfg.Site, sid).Scan)
	if err != nil {
		return nil, err
	}
	if !s.alive(sess, s.cfg.Now()) {
		return nil, db.ErrNotFound
	}
	return sess, nil
}

// Count returns how many living sessions the person has on this site.
func (s *Store) Count(ctx context.Context, person string) (n int, err error) {
	now := s.cfg.Now()
	err = s.db.QueryRow(ctx, "SELECT COUNT(*) FROM session WHERE site = $1 AND person = $2 AND ends > $3 AND seen > $4",
		s.cfg.Site, person, db.At(now), db.At(now.Add(-s.cfg.Idle))).Scan(&n)
	return n, err
}

// Ended is a session that Expired or Drop removed.
type Ended struct{ Person, SID string }

// Expired removes up to n sessions that have expired and returns them, so that
// whoever keeps something of them is told in the same transaction.
func (s *Store) Expired(ctx context.Context, n int) ([]Ended, error) {
	now := s.cfg.Now()
	return s.removed(ctx, `DELETE FROM session WHERE secret_hash IN
		(SELECT secret_hash FROM session WHERE site = $1 AND (ends <= $2 OR seen <= $3) LIMIT $4)
		AND (ends <= $2 OR seen <= $3) RETURNING person, sid`, s.cfg.Site, db.At(now), db.At(now.Add(-s.cfg.Idle)), n)
}

// Drop removes the session of the request's cookie, expired or not, and returns
// it. It is for what Load did not give: an expired session that nothing has
// removed yet.
func (s *Store) Drop(ctx context.Context, r *http.Request) ([]Ended, error) {
	hash := s.cookieHash(r)
	if hash == "" {
		return nil, nil
	}
	return s.removed(ctx, "DELETE FROM session WHERE secret_hash = $1 AND site = $2 RETURNING person, sid", hash, s.cfg.Site)
}

func (s *Store) removed(ctx context.Context, query string, args ...any) ([]Ended, error) {
	all, err := db.All(ctx, s.db, func(scan func(...any) error) (e Ended, err error) { return e, scan(&e.Person, &e.SID) }, query, args...)
	if err != nil {
		return nil, fmt.Errorf("remove sessions: %w", err)
	}
	return all, nil
}

// People returns up to n people with a session on this site, those after the
// given ID, by ID.
func (s *Store) People(ctx context.Context, after string, n int) ([]string, error) {
	return db.All(ctx, s.db, func(scan func(...any) error) (p string, err error) { return p, scan(&p) },
		"SELECT DISTINCT person FROM session WHERE site = $1 AND person > $2 ORDER BY person LIMIT $3", s.cfg.Site, after, n)
}

// Sweep removes what has expired and returns how many rows that was. Where
// somebody must be told, Expired is the one to call.
func (s *Store) Sweep(ctx context.Context) (int64, error) {
	now := s.cfg.Now()
	return s.db.Exec(ctx, "DELETE FROM session WHERE site = $1 AND (ends <= $2 OR seen <= $3)", s.cfg.Site, db.At(now), db.At(now.Add(-s.cfg.Idle)))
}

// OfPerson lists the person's living sessions on this site, the last used first.
func (s *Store) OfPerson(ctx context.Context, person string) ([]*Session, error) {
	now := s.cfg.Now()
	return db.All(ctx, s.db, scanSession, "SELECT "+columns+" FROM session WHERE site = $1 AND person = $2 AND ends > $3 AND seen > $4 ORDER BY seen DESC, sid",
		s.cfg.Site, person, db.At(now), db.At(now.Add(-s.cfg.Idle)))
}
