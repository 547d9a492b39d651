package helpdesk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/internal/web"
)

// The API of the ticketing tool: what the desk does, by a bearer token that an
// application was given for itself (client_credentials), a scope for each
// action, under the same rules. The table below is the API and its document.

// Bearer finds the application behind a request's token.
type Bearer interface {
	// ActsForItself returns the application, whose token must have one of the
	// scopes; otherwise it has answered and the error is for the handler.
	ActsForItself(w http.ResponseWriter, r *http.Request, scopes ...string) (application string, err error)
}

// operation is one call of the API.
type operation struct {
	method, path string
	scope        string // one of these words; empty: any of the API's
	summary      string
	query        map[string]string // parameters and what they mean; any other is an error
	order        Action            // what it orders; empty for reading
	answer       func(d *Desk, ctx context.Context, h Helper, r *http.Request) (status int, body any, err error)
}

// scopeOf is the scope of an action in the API.
func scopeOf(a Action) string { return "helpdesk:" + string(a) }

// operations are all calls of the API.
var operations = []operation{
	{method: "GET", path: "/api/helpdesk/people", scope: scopeOf(Read), summary: "Find people among those that the application serves",
		query: map[string]string{"q": "words of the name, the login or the mail address, a school's code, or the serial of an OTP key"}, answer: apiPeople},
	{method: "GET", path: "/api/helpdesk/people/{person}", scope: scopeOf(Read), summary: "One person: state, factors, keys", answer: apiPerson},
	{method: "POST", path: "/api/helpdesk/people/{person}/reset", scope: scopeOf(Reset), order: Reset, summary: "Remove every second factor, or the one of \"factor\"; everything is signed out"},
	{method: "POST", path: "/api/helpdesk/people/{person}/unlock", scope: scopeOf(Unlock), order: Unlock, summary: "Forget wrong passwords and codes"},
	{method: "POST", path: "/api/helpdesk/people/{person}/lock", scope: scopeOf(Lock), order: Lock, summary: "Lock the account until it is opened; everything is cut"},
	{method: "POST", path: "/api/helpdesk/people/{person}/open", scope: scopeOf(Open), order: Open, summary: "Open a locked account"},
	{method: "POST", path: "/api/helpdesk/people/{person}/sessions", scope: scopeOf(Sessions), order: Sessions, summary: "Sign out everywhere"},
	{method: "GET", path: "/api/helpdesk/requests/{id}", summary: "What became of an order that waits for a second person", answer: apiRequest},
}

// apiScopes are all that an operation may ask for.
func apiScopes() []string {
	var all []string
	for _, o := range operations {
		if o.scope != "" && !slices.Contains(all, o.scope) {
			all = append(all, o.scope)
		}
	}
	return all
}

// MountAPI adds the API and its document.
func (d *Desk) MountAPI(mux web.Mux, site *web.Site, bearer Bearer, issuer string) {
	for _, o := range operations {
		mux.Handle(o.method+" "+o.path, site.API(func(w http.ResponseWriter, r *http.Request) error {
			scopes := []string{o.scope}
			if o.scope == "" {
				scopes = apiScopes()
			}
			application, err := bearer.ActsForItself(w, r, scopes...)
			if err != nil {
				return err
			}
			return d.call(w, r, o, Helper{Application: application})
		}))
	}
	document := openAPI(issuer)
	mux.Handle("GET /api/openapi.json", site.API(func(w http.ResponseWriter, r *http.Request) error {
		return writeJSON(w, http.StatusOK, document)
	}))
}

func writeJSON(w http.ResponseWriter, status int, body any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(body)
}

// problem is an answer that says no (RFC 9457).
type problem struct {
	Type    string   `json:"type"`
	Title   string   `json:"title"`
	Status  int      `json:"status"`
	Reason  string   `json:"reason"`
	Schools []string `json:"schools,omitempty"`
	Name    string   `json:"name,omitempty"`
}

func (p *problem) Error() string { return p.Reason + ": " + p.Title }

func say(status int, reason, title string) *problem {
	return &problem{Type: "about:blank", Title: title, Status: status, Reason: reason}
}

// problemOf is what the API says of an error; nil for one that is ours.
func problemOf(err error) *problem {
	var p *problem
	no := Refused(err)
	switch {
	case errors.As(err, &p):
		return p
	case no != nil && no.Reason == Unknown:
		return say(http.StatusNotFound, Unknown, "nobody has this login or identifier")
	case no != nil:
		p = say(http.StatusForbidden, no.Reason, "the delegations of the application do not allow this")
		p.Schools, p.Name = no.Schools, no.Name
		return p
	case errors.Is(err, ErrNoReason):
		return say(http.StatusUnprocessableEntity, "no_reason", "reason must have 3 to 300 characters")
	case errors.Is(err, ErrNotVerified):
		return say(http.StatusUnprocessableEntity, "not_verified", "say how the caller was verified: phrase with the three words, or verified as callback or in_person")
	case errors.Is(err, ErrWrongPhrase):
		return say(http.StatusUnprocessableEntity, "wrong_phrase", "those are not the three words of now")
	case errors.Is(err, ErrTooManyGuesses):
		return say(http.StatusTooManyRequests, "too_many_guesses", "too many wrong words; wait ten minutes")
	case errors.Is(err, ErrNothing):
		return say(http.StatusConflict, "nothing", "it is so already, or somebody was faster")
	case errors.Is(err, ErrAsked):
		return say(http.StatusConflict, "asked", "the same waits for a second person already")
	}
	return nil
}

func (d *Desk) writeProblem(w http.ResponseWriter, p *problem) error {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	return json.NewEncoder(w).Encode(p)
}

// call answers one operation.
func (d *Desk) call(w http.ResponseWriter, r *http.Request, o operation, h Helper) error {
	for name := range r.URL.Query() {
		if _, known := o.query[name]; !known {
			return d.writeProblem(w, say(http.StatusBadRequest, "unknown_parameter", fmt.Sprintf("no parameter %q", name)))
		}
	}
	if err := d.rules.Helps(h, d.now()); err != nil {
		d.refuse(r.Context(), h, Read, "", Refused(err))
		return d.writeProblem(w, problemOf(err))
	}
	if o.order != "" {
		return d.callOrder(w, r, o, h)
	}
	status, body, err := o.answer(d, r.Context(), h, r)
	if p := problemOf(err); p != nil {
		return d.writeProblem(w, p)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, status, body)
}

// orderBody is what an order is sent as.
type orderBody struct {
	Reason   string `json:"reason"`
	Verified string `json:"verified"` // callback or in_person
	Phrase   string `json:"phrase"`   // the three words that the caller reads
	Agent    string `json:"agent"`    // login of the helper for whom the application acts: takes rights away, gives none
	Factor   string `json:"factor"`   // reset: this one only
}

const orderMost = 8 << 10

// callOrder carries out an order, once for each Idempotency-Key.
func (d *Desk) callOrder(w http.ResponseWriter, r *http.Request, o operation, h Helper) error {
	// A form's body is read for a token before it comes here (RFC 6750 §2.2).
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return d.writeProblem(w, say(http.StatusUnsupportedMediaType, "content_type", "send the order as Content-Type: application/json"))
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, orderMost+1))
	if err != nil || len(raw) > orderMost {
		return d.writeProblem(w, say(http.StatusRequestEntityTooLarge, "too_large", "an order has 8 KiB at most"))
	}
	ctx := r.Context()
	key := r.Header.Get("Idempotency-Key")
	digest := secret.Hash(o.method + " " + r.URL.Path + " " + string(raw))
	if len(key) > 200 {
		return d.writeProblem(w, say(http.StatusBadRequest, "idempotency_key", "an Idempotency-Key has 200 characters at most"))
	}
	if key != "" {
		status, body, err := d.claim(ctx, h.Application, key, digest)
		if p := problemOf(err); p != nil {
			return d.writeProblem(w, p)
		}
		if err != nil {
			return err
		}
		if status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Idempotency-Replayed", "true")
			w.WriteHeader(status)
			_, err := io.WriteString(w, body)
			return err
		}
	}
	status, answer, err := d.order(ctx, o, h, r.PathValue("person"), raw)
	if p := problemOf(err); p != nil {
		status, answer, err = p.Status, p, nil
	}
	if err != nil {
		if key != "" { // not an answer: the next try starts afresh
			_, _ = d.db.Exec(context.WithoutCancel(ctx), "DELETE FROM helpdesk_repeat WHERE application = $1 AND key = $2 AND status = 0", h.Application, key)
		}
		return err
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	if key != "" {
		if _, err := d.db.Exec(context.WithoutCancel(ctx), "UPDATE helpdesk_repeat SET status = $1, body = $2 WHERE application = $3 AND key = $4", status, string(text), h.Application, key); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err = w.Write(text)
	return err
}

const (
	repeatLife = 24 * time.Hour
	claimLife  = time.Minute // of a call that broke off half-way
)

// claim takes an Idempotency-Key; status and body are those of the call that had
// it before.
func (d *Desk) claim(ctx context.Context, application, key, digest string) (status int, body string, err error) {
	n, err := d.db.Exec(ctx, `INSERT INTO helpdesk_repeat (application, key, digest, status, body, at) VALUES ($1, $2, $3, 0, '', $4)
		ON CONFLICT (application, key) DO UPDATE SET digest = excluded.digest, status = 0, body = '', at = excluded.at
		WHERE helpdesk_repeat.at <= $5 OR helpdesk_repeat.status = 0 AND helpdesk_repeat.at <= $6 AND helpdesk_repeat.digest = excluded.digest`,
		application, key, digest, db.At(d.now()), db.At(d.now().Add(-repeatLife)), db.At(d.now().Add(-claimLife)))
	if err != nil || n == 1 {
		return 0, "", err
	}
	var before string
	if err := d.db.QueryRow(ctx, "SELECT digest, status, body FROM helpdesk_repeat WHERE application = $1 AND key = $2", application, key).Scan(&before, &status, &body); err != nil {
		return 0, "", err
	}
	switch {
	case !secret.Equal(before, digest):
		return 0, "", say(http.StatusUnprocessableEntity, "idempotency_key", "this Idempotency-Key came with another order before")
	case status == 0:
		return 0, "", say(http.StatusConflict, "in_progress", "the same order is being carried out")
	}
	return status, body, nil
}

// order reads and carries out an order.
func (d *Desk) order(ctx context.Context, o operation, h Helper, who string, raw []byte) (status int, answer any, err error) {
	var body orderBody
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil || decoder.More() {
		return 0, nil, say(http.StatusBadRequest, "body", "the body must be one JSON object with reason, verified, phrase, agent and factor only")
	}
	p, err := d.named(ctx, who)
	if err != nil {
		return 0, nil, err
	}
	if body.Agent != "" {
		agent, err := d.directory.ByLogin(ctx, body.Agent)
		if errors.Is(err, directory.ErrUnknown) {
			return 0, nil, say(http.StatusUnprocessableEntity, "agent", "nobody has the login of agent")
		}
		if err != nil {
			return 0, nil, err
		}
		if h.Person, err = d.directory.ByID(ctx, agent.ID); err != nil {
			return 0, nil, err
		}
	}
	order := Order{Action: o.order, Person: p.ID, Reason: body.Reason, Factor: body.Factor, Verified: body.Verified}
	switch {
	case body.Factor != "" && o.order != Reset:
		return 0, nil, say(http.StatusBadRequest, "body", "factor belongs to a reset")
	case body.Phrase != "":
		// Only for a person whom the application may serve: else a try would tell.
		if err := d.rules.MayAsk(h, o.order, p, d.now()); err != nil {
			d.refuse(ctx, h, o.order, p.ID, Refused(err))
			return 0, nil, err
		}
		if err := d.Verify(ctx, h, p.ID, ByPhrase, body.Phrase, ""); err != nil {
			return 0, nil, err
		}
		order.Verified = ByPhrase
	case body.Verified == ByPhrase, body.Verified == ByCode:
		order.Verified = "" // they prove themselves or do not count
	}
	done, err := d.Do(ctx, h, order)
	if err != nil {
		return 0, nil, err
	}
	if done.Request != "" {
		return http.StatusAccepted, map[string]any{"status": "waiting", "request": done.Request}, nil
	}
	result := map[string]any{"status": "done"}
	if o.order == Reset {
		result["removed"] = done.Removed
	}
	return http.StatusOK, result, nil
}

// named finds a person by ID or login.
func (d *Desk) named(ctx context.Context, who string) (directory.Person, error) {
	p, err := d.directory.ByID(ctx, who)
	if errors.Is(err, directory.ErrUnknown) {
		if p, err = d.directory.ByLogin(ctx, who); err == nil {
			p, err = d.directory.ByID(ctx, p.ID) // with groups
		}
	}
	if errors.Is(err, directory.ErrUnknown) {
		return p, &Refusal{Reason: Unknown}
	}
	return p, err
}

// apiWho is a person in the answers.
type apiWho struct {
	Sub      string   `json:"sub"`
	Login    string   `json:"login"`
	Name     string   `json:"name"`
	Mail     string   `json:"mail,omitempty"`
	Schools  []string `json:"schools"`
	Disabled bool     `json:"disabled"`
}

func whoOf(p directory.Person) apiWho {
	return apiWho{p.ID, p.Login, nameOf(p), p.Mail, append([]string{}, p.UAI...), p.Disabled}
}

func apiPeople(d *Desk, ctx context.Context, h Helper, r *http.Request) (int, any, error) {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	if len([]rune(q)) < 2 {
		return 0, nil, say(http.StatusBadRequest, "q", "q needs two characters at least")
	}
	people, err := d.Find(ctx, h, q)
	if err != nil {
		return 0, nil, err
	}
	list := []apiWho{}
	for _, p := range people[:min(len(people), most)] {
		list = append(list, whoOf(p))
	}
	return http.StatusOK, map[string]any{"people": list, "more": len(people) > most}, nil
}

func apiPerson(d *Desk, ctx context.Context, h Helper, r *http.Request) (int, any, error) {
	p, err := d.named(ctx, r.PathValue("person"))
	if err == nil {
		err = d.rules.May(h, Read, p, d.now())
	}
	if err != nil {
		if no := Refused(err); no != nil {
			d.refuse(ctx, h, Read, p.ID, no)
		}
		return 0, nil, err
	}
	factors, err := d.mfa.Factors(ctx, p.ID)
	if err != nil {
		return 0, nil, err
	}
	type factor struct {
		ID      string    `json:"id"`
		Kind    string    `json:"kind"`
		Name    string    `json:"name,omitempty"`
		Created time.Time `json:"created"`
		Used    time.Time `json:"used,omitzero"`
	}
	list := []factor{}
	for _, f := range factors {
		list = append(list, factor{f.ID, string(f.Kind), f.Name, f.Created, f.Used})
	}
	since, err := d.signin.LockedSince(ctx, p.ID)
	if err != nil {
		return 0, nil, err
	}
	sessions, err := d.signin.SessionCount(ctx, p.ID)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, struct {
		apiWho
		Sensitive bool      `json:"sensitive"`
		Locked    time.Time `json:"locked_since,omitzero"`
		Sessions  int       `json:"sessions"`
		Factors   []factor  `json:"factors"`
	}{whoOf(p), d.rules.IsSensitive(p), since, sessions, list}, nil
}

func apiRequest(d *Desk, ctx context.Context, h Helper, r *http.Request) (int, any, error) {
	q, err := d.Request(ctx, r.PathValue("id"))
	if errors.Is(err, db.ErrNotFound) || err == nil && q.Application != h.Application {
		return 0, nil, say(http.StatusNotFound, Unknown, "the application has no such request")
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, struct {
		ID      string    `json:"id"`
		Action  string    `json:"action"`
		Sub     string    `json:"sub"`
		State   string    `json:"state"`
		Created time.Time `json:"created"`
		Ends    time.Time `json:"ends"`
		Answer  string    `json:"answer,omitempty"`
	}{q.ID, string(q.Order.Action), q.Order.Person, q.State, q.Created, q.Ends, q.Answer}, nil
}
