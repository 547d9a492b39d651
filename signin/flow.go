package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// Flow is one attempt, from an application's request to its answer. What the
// application asked for never changes; what was proven is added to it.
//
// A flow's address may leak (a shared screen, a history): its ID opens nothing.
// The flow belongs to the browser that began it, by the first half of a cookie
// of its own, and what was proven belongs to the browser that proved it, by the
// second half, which is made at that moment: a cookie planted before is useless.
type Flow struct {
	ID          string
	Protocol    string
	Application string
	Raw         []byte
	LoginHint   string
	Locales     string
	Prompt      string
	MaxAge      *int64
	Assurance   Level
	Fresh       time.Duration // how long ago a factor may have been given; 0: any time
	Received    time.Time
	Expires     time.Time

	Person     string    // who proved the password, or a passkey, in this flow
	PasswordAt time.Time // zero when a passkey stood for it
	Factors    []Given   // those that were not enough, or not yet
	Deferred   bool      // a factor that will be required was put off
	Chosen     string    // prompt=select_account: the session's public id, or anotherAccount

	browser, proof string // hashes
}

var (
	// errNoFlow: never begun here, or so long ago that it is forgotten.
	errNoFlow = errors.New("signin: no such flow, or expired")
	// errOtherBrowser: the flow's ID without its cookie.
	errOtherBrowser = errors.New("signin: the flow belongs to another browser")
	// errMoved: another request of the same flow was faster.
	errMoved = errors.New("signin: the flow has moved on")
)

// maxRaw bounds what a protocol may have kept in a flow; a request line is
// shorter.
const maxRaw = 16 << 10

// maxCookies is how many flows a browser keeps at once; the oldest gives way.
const maxCookies = 8

// newFlow makes the flow of a request. Its ID begins with the time, so that a
// browser's oldest cookie can be told by its name.
func newFlow(req Request, expires time.Time) Flow {
	received := req.Received.UTC().Truncate(time.Microsecond)
	return Flow{
		ID:       fmt.Sprintf("%09s", strconv.FormatInt(received.UnixMilli(), 36)) + secret.Random()[:22],
		Protocol: req.Protocol, Application: req.Application.ID, Raw: req.Raw,
		LoginHint: cut(req.LoginHint, 256), Locales: cut(req.UILocales, 100), Prompt: req.Prompt, MaxAge: req.MaxAge, Assurance: req.Assurance, Fresh: req.Fresh.Truncate(time.Second),
		Received: received, Expires: expires.UTC().Truncate(time.Microsecond),
	}
}

func cut(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return strings.ToValidUTF8(s, "")
}

// flowCount estimates how many flows are stored, to know when to make room.
type flowCount struct{ n atomic.Int64 }

// storeFlow inserts the flow. When too many are stored, the oldest unproven
// ones go: they cost nothing to begin, so they may not cost the disk.
func (s *Service) storeFlow(ctx context.Context, f *Flow, browser string) error {
	f.browser = secret.Hash(browser)
	var maxAge any
	if f.MaxAge != nil {
		maxAge = *f.MaxAge
	}
	_, err := s.db.Exec(ctx, `INSERT INTO signin_flow (id, browser, protocol, application, raw, login_hint, locales, prompt, max_age, assurance, fresh, received, expires, person, password_at, proof)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, '', NULL, '')`,
		f.ID, f.browser, f.Protocol, f.Application, f.Raw, f.LoginHint, f.Locales, f.Prompt, maxAge, int64(f.Assurance), int64(f.Fresh/time.Second), db.At(f.Received), db.At(f.Expires))
	if err != nil {
		return fmt.Errorf("store flow: %w", err)
	}
	if s.flows.n.Add(1) <= int64(s.cfg.MaxFlows) {
		return nil
	}
	return s.makeRoom(ctx)
}

func (s *Service) makeRoom(ctx context.Context) error {
	var n int64
	if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM signin_flow").Scan(&n); err != nil {
		return fmt.Errorf("count flows: %w", err)
	}
	if over := n - int64(s.cfg.MaxFlows); over > 0 {
		// A tenth more than needed, so that a flood pays for this rarely.
		gone, err := s.db.Exec(ctx, "DELETE FROM signin_flow WHERE id IN (SELECT id FROM signin_flow WHERE person = '' ORDER BY expires, id LIMIT $1)", over+int64(s.cfg.MaxFlows/10))
		if err != nil {
			return fmt.Errorf("drop old flows: %w", err)
		}
		s.log.WarnContext(ctx, "too many unfinished sign-ins: the oldest were dropped", "dropped", gone, "limit", s.cfg.MaxFlows)
		n -= gone
	}
	s.flows.n.Store(n)
	return nil
}

// flow loads the flow that the request names in its address, with what was
// proven in it if this browser proved it. errNoFlow, errOtherBrowser.
func (s *Service) flow(r *http.Request) (Flow, error) {
	id := r.URL.Query().Get("flow")
	if len(id) != 31 {
		return Flow{}, errNoFlow
	}
	f := Flow{ID: id}
	var maxAge *int64
	var assurance, fresh, deferred int64
	var factors string
	var received, expires, passwordAt db.Time
	err := s.db.QueryRow(r.Context(), `SELECT browser, protocol, application, raw, login_hint, locales, prompt, max_age, assurance, fresh, received, expires, person, password_at, factors, deferred, proof, chosen
		FROM signin_flow WHERE id = $1`, id).
		Scan(&f.browser, &f.Protocol, &f.Application, &f.Raw, &f.LoginHint, &f.Locales, &f.Prompt, &maxAge, &assurance, &fresh, &received, &expires, &f.Person, &passwordAt, &factors, &deferred, &f.proof, &f.Chosen)
	if errors.Is(err, db.ErrNotFound) {
		return Flow{}, errNoFlow
	}
	if err != nil {
		return Flow{}, fmt.Errorf("load flow: %w", err)
	}
	f.MaxAge, f.Assurance, f.Fresh, f.Deferred = maxAge, Level(assurance), time.Duration(fresh)*time.Second, deferred != 0
	if factors != "" {
		if err := json.Unmarshal([]byte(factors), &f.Factors); err != nil {
			return Flow{}, fmt.Errorf("load flow: %w", err)
		}
	}
	f.Received, f.Expires, f.PasswordAt = received.Time, expires.Time, passwordAt.Time
	browser, proof := s.flowCookie(r, id)
	if browser == "" || !secret.Equal(secret.Hash(browser), f.browser) {
		return Flow{}, errOtherBrowser
	}
	if !s.now().Before(f.Expires) {
		return f, errNoFlow
	}
	if f.proof == "" || proof == "" || !secret.Equal(secret.Hash(proof), f.proof) {
		f.Person, f.PasswordAt, f.Factors, f.Deferred, f.proof = "", time.Time{}, nil, false, ""
	}
	return f, nil
}

// keepProof notes in the flow what was proven so far and by whom, for the
// browser that gets the cookie set here. What f was read with must still stand.
func (s *Service) keepProof(ctx context.Context, w http.ResponseWriter, r *http.Request, f Flow) error {
	proof, factors := secret.Random(), ""
	if len(f.Factors) > 0 {
		text, err := json.Marshal(f.Factors)
		if err != nil {
			return fmt.Errorf("keep proof: %w", err)
		}
		factors = string(text)
	}
	deferred := 0
	if f.Deferred {
		deferred = 1
	}
	n, err := s.db.Exec(ctx, `UPDATE signin_flow SET person = $1, password_at = $2, factors = $3, deferred = $4, proof = $5
		WHERE id = $6 AND expires > $7 AND ($8 = '' OR proof = $8)`,
		f.Person, db.At(f.PasswordAt), factors, deferred, secret.Hash(proof), f.ID, db.At(s.now()), f.proof)
	if err != nil {
		return fmt.Errorf("keep proof: %w", err)
	}
	if n == 0 {
		return errMoved
	}
	browser, _ := s.flowCookie(r, f.ID)
	s.setFlowCookie(w, f, browser+proof)
	return nil
}

// spend takes what was proven out of the flow, for one caller only. What stays
// is the application's request: a tab that comes late goes on with the session.
func (s *Service) spend(ctx context.Context, f Flow) error {
	if f.proof == "" {
		return nil // proven within this very request
	}
	n, err := s.db.Exec(ctx, "UPDATE signin_flow SET person = '', password_at = NULL, factors = '', deferred = 0, proof = '' WHERE id = $1 AND proof = $2", f.ID, f.proof)
	if err != nil {
		return fmt.Errorf("spend flow: %w", err)
	}
	if n == 0 {
		return errMoved
	}
	return nil
}

// forgetProofs takes back what this browser proved in flows that it has not
// finished: whoever signs out leaves nothing half open.
func (s *Service) forgetProofs(ctx context.Context, r *http.Request) error {
	for _, c := range r.Cookies() {
		id, ok := strings.CutPrefix(c.Name, s.cookiePrefix())
		if !ok || len(c.Value) != 86 {
			continue
		}
		_, err := s.db.Exec(ctx, "UPDATE signin_flow SET person = '', password_at = NULL, factors = '', deferred = 0, proof = '' WHERE id = $1 AND proof = $2", id, secret.Hash(c.Value[43:]))
		if err != nil {
			return fmt.Errorf("forget proofs: %w", err)
		}
	}
	return nil
}

func (s *Service) cookiePrefix() string {
	if s.sessions.Secure() {
		return "__Host-beffroi_flow_"
	}
	return "beffroi_flow_"
}

// flowCookie returns both halves of the flow's cookie. Of several with the
// name none is trusted: one was planted.
func (s *Service) flowCookie(r *http.Request, id string) (browser, proof string) {
	cookies := r.CookiesNamed(s.cookiePrefix() + id)
	if len(cookies) != 1 {
		return "", ""
	}
	switch v := cookies[0].Value; len(v) {
	case 43:
		return v, ""
	case 86:
		return v[:43], v[43:]
	}
	return "", ""
}

func (s *Service) setFlowCookie(w http.ResponseWriter, f Flow, value string) {
	http.SetCookie(w, &http.Cookie{
		Name: s.cookiePrefix() + f.ID, Value: value, Path: "/", MaxAge: int(s.cfg.FlowLife / time.Second),
		Secure: s.sessions.Secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// pruneCookies clears the cookies of the browser's oldest flows, so that many
// open tabs do not make its requests too long to be read.
func (s *Service) pruneCookies(w http.ResponseWriter, r *http.Request) {
	var names []string
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, s.cookiePrefix()) && !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	for len(names) >= maxCookies {
		http.SetCookie(w, &http.Cookie{Name: names[0], Path: "/", MaxAge: -1, Secure: s.sessions.Secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode})
		names = names[1:]
	}
}

// Sweep removes expired flows, forgotten guesses and unfinished enrolments and
// returns how many rows that was. Sessions are swept by their own store.
func (s *Service) Sweep(ctx context.Context) (int64, error) {
	flows, err := s.db.Exec(ctx, "DELETE FROM signin_flow WHERE expires <= $1", db.At(s.now()))
	if err != nil {
		return 0, fmt.Errorf("sweep flows: %w", err)
	}
	guesses, err := s.guard.sweep(ctx)
	if err != nil {
		return flows, err
	}
	pending, err := s.mfa.Sweep(ctx)
	if err != nil {
		return flows + guesses, err
	}
	links, err := s.db.Exec(ctx, "DELETE FROM signin_link WHERE ends <= $1", db.At(s.now().Add(-lockLinkLife))) // a while longer, to say that it is too old
	if err != nil {
		return flows + guesses, fmt.Errorf("sweep links: %w", err)
	}
	var n int64
	if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM signin_flow").Scan(&n); err != nil {
		return 0, fmt.Errorf("count flows: %w", err)
	}
	s.flows.n.Store(n)
	return flows + guesses + pending + links, nil
}
