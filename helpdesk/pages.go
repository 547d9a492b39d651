package helpdesk

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/signin"
	"beffroi/templates"
)

// most is how many people a search shows.
const most = 30

func text(r *http.Request, key string, args ...any) string {
	return i18n.T(web.Lang(r.Context()), key, args...)
}

func render(w http.ResponseWriter, r *http.Request, status int, title string, page templates.Page) error {
	frame := page.Frame()
	frame.Title, frame.CSS = title, append(frame.CSS, "helpdesk.css")
	return web.Render(w, r, status, page)
}

// refusedKeys are the sentences of refusals, by their reason.
var refusedKeys = map[string]string{
	NotHelper: "helpdesk.refused.not_helper", Ended: "helpdesk.refused.ended", Scope: "helpdesk.refused.scope", NoAction: "helpdesk.refused.action",
	Self: "helpdesk.refused.self", Rights: "helpdesk.refused.rights", Stale: "helpdesk.refused.stale", Second: "helpdesk.refused.second", Unknown: "helpdesk.refused.unknown",
}

// refusal says in words why not, and what would help.
func (d *Desk) refusal(r *http.Request, no *Refusal) string {
	return text(r, refusedKeys[no.Reason], "name", no.Name, "schools", strings.Join(no.Schools, ", "))
}

// renderRefused is the page of a helper who may not; name is whom it is about.
func (d *Desk) renderRefused(w http.ResponseWriter, r *http.Request, no *Refusal, name string) error {
	status := http.StatusForbidden
	if no.Reason == Unknown {
		status = http.StatusNotFound
	}
	return render(w, r, status, text(r, "helpdesk.title"), &templates.HelpdeskRefused{Reason: d.refusal(r, no), Name: name, Helper: no.Reason != NotHelper && no.Reason != Ended})
}

// showSearch answers GET /helpdesk/, query q.
func (d *Desk) showSearch(w http.ResponseWriter, r *http.Request) error {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	h, ok, err := d.helper(w, r, "/helpdesk/?q="+url.QueryEscape(q))
	if !ok {
		return err
	}
	_, _, noKeys := d.rules.KeySchools(h, d.now())
	page := &templates.HelpdeskSearch{Query: q, Keys: noKeys == nil, FollowUp: d.roll != nil}
	for _, one := range d.rules.Serving(h, d.now()) {
		page.Serves = append(page.Serves, templates.HelpdeskServes{Name: one.Name, Schools: one.Schools, Until: one.Until, Everyone: one.Everyone})
	}
	page.Schools = d.wholeSchools(h)
	if page.Waiting, err = d.waiting(r.Context(), h); err != nil {
		return err
	}
	if q == "" {
		return render(w, r, http.StatusOK, text(r, "helpdesk.title"), page)
	}
	people, err := d.Find(r.Context(), h, q)
	if errors.Is(err, directory.ErrDown) {
		return web.Fail(http.StatusServiceUnavailable, "helpdesk.error.directory", err)
	}
	if err != nil {
		return err
	}
	if len(people) > most {
		people, page.More = people[:most], true
	}
	for _, p := range people {
		page.People = append(page.People, personInfo(p))
	}
	page.Short = len([]rune(q)) < 2
	return render(w, r, http.StatusOK, text(r, "helpdesk.found", "q", q), page)
}

func personInfo(p directory.Person) templates.HelpdeskWho {
	return templates.HelpdeskWho{ID: p.ID, Name: nameOf(p), Login: p.Login, Mail: p.Mail, Title: p.Title, Schools: p.UAI, Phone: p.Phone, Disabled: p.Disabled}
}

// Find searches the people that the helper serves: by words of their name,
// login, mail address or school's code, or by the serial of an OTP key. One more
// than a page holds, to tell that there are more.
func (d *Desk) Find(ctx context.Context, h Helper, q string) ([]directory.Person, error) {
	within, err := d.rules.Within(h, d.now())
	if err != nil {
		return nil, err
	}
	query := directory.Query{Text: q, Limit: most + 1, Within: within, IncludeDisabled: true}
	var words []string
	for _, word := range strings.Fields(q) {
		if code := strings.ToUpper(word); uaiCode.MatchString(code) {
			query.AlsoIn = append(query.AlsoIn, code)
			continue
		}
		words = append(words, word)
	}
	query.Text = strings.Join(words, " ")
	people, err := d.directory.Search(ctx, query)
	if err != nil {
		return nil, err
	}
	if k, err := d.mfa.OTPKey(ctx, q); err == nil && k.Person != "" {
		if p, err := d.directory.ByID(ctx, k.Person); err == nil && d.rules.May(h, Read, p, d.now()) == nil {
			people = append([]directory.Person{p}, people...)
		}
	} else if err != nil && !errors.Is(err, db.ErrNotFound) {
		return nil, err
	}
	return people, nil
}

// waiting counts the requests that the helper could decide.
func (d *Desk) waiting(ctx context.Context, h Helper) (n int, err error) {
	open, _, err := d.openRequests(ctx, h.Person.ID)
	if err != nil {
		return 0, err
	}
	for _, q := range open {
		if ok, err := d.couldDecide(ctx, h, q); err != nil {
			return 0, err
		} else if ok {
			n++
		}
	}
	return n, nil
}

func (d *Desk) couldDecide(ctx context.Context, h Helper, q Request) (bool, error) {
	p, err := d.directory.ByID(ctx, q.Order.Person)
	if errors.Is(err, directory.ErrUnknown) {
		return false, nil
	}
	return err == nil && d.rules.MayApprove(h, q.Asker, q.Order.Action, p, d.now()) == nil, err
}

func personPath(id string) string { return "/helpdesk/" + url.PathEscape(id) }

// served is the person of the address, if the helper may see them; else it has
// answered.
func (d *Desk) served(w http.ResponseWriter, r *http.Request) (h Helper, p directory.Person, ok bool, err error) {
	id := r.PathValue("sub")
	if h, ok, err = d.helper(w, r, personPath(id)); !ok {
		return h, p, false, err
	}
	p, err = d.directory.ByID(r.Context(), id)
	if errors.Is(err, directory.ErrUnknown) {
		p, err = directory.Person{}, nil
	}
	if err != nil {
		return h, p, false, web.Fail(http.StatusServiceUnavailable, "helpdesk.error.directory", err)
	}
	if err := d.rules.May(h, Read, p, d.now()); err != nil {
		no := Refused(err)
		d.refuse(r.Context(), h, Read, id, no)
		return h, p, false, d.renderRefused(w, r, no, nameOf(p))
	}
	return h, p, true, nil
}

// form is what was typed on a person's page, to be shown again.
type form struct {
	reason, remark, way string
	problem             string // a key of problems
	pass                *Done
}

// problems are the sentences for what keeps an order from being carried out.
var problems = map[string]string{
	"reason": "helpdesk.problem.reason", "verify": "helpdesk.problem.verify", "nothing": "helpdesk.problem.nothing", "asked": "helpdesk.problem.asked",
	"phrase": "helpdesk.problem.phrase", "guesses": "helpdesk.problem.guesses", "remark": "helpdesk.problem.remark", "code": "helpdesk.problem.code", "life": "helpdesk.problem.life",
	"sent": "helpdesk.problem.sent",
}

// doneKeys are the words for what was just done, by the value of ?done=.
var doneKeys = map[string]string{
	"verified": "helpdesk.done.verified", "sent": "helpdesk.done.sent", "asked": "helpdesk.done.asked", "reset": "helpdesk.done.reset", "factor": "helpdesk.done.factor", "revoke": "helpdesk.done.revoke",
	"unlock": "helpdesk.done.unlock", "lock": "helpdesk.done.lock", "open": "helpdesk.done.open", "sessions": "helpdesk.done.sessions", "keys": "helpdesk.done.keys",
}

// showPerson answers GET /helpdesk/{sub}.
func (d *Desk) showPerson(w http.ResponseWriter, r *http.Request) error {
	h, p, ok, err := d.served(w, r)
	if !ok {
		return err
	}
	return d.renderPerson(w, r, http.StatusOK, h, p, form{})
}

func (d *Desk) renderPerson(w http.ResponseWriter, r *http.Request, status int, h Helper, p directory.Person, f form) error {
	ctx := r.Context()
	page := &templates.HelpdeskPerson{Who: personInfo(p), Kind: p.Kind, Sensitive: d.rules.IsSensitive(p), Typed: f.reason, Remark: f.remark, Way: f.way}
	if key := problems[f.problem]; key != "" {
		page.Problem = text(r, key)
	}
	if key := doneKeys[r.URL.Query().Get("done")]; key != "" && f.problem == "" && f.pass == nil {
		page.Done = text(r, key)
	}
	if f.pass != nil {
		page.Pass, page.PassEnds = f.pass.Code, d.signin.Local(f.pass.Ends)
	}
	steps := []func() error{
		func() error { return d.state(ctx, page, p) },
		func() error { return d.holdings(ctx, r, page, p) },
		func() error { return d.story(ctx, r, page, p) },
		func() error { return d.verification(ctx, r, page, h, p) },
		func() error { return d.pending(ctx, r, page, p) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	page.Actions = d.actions(r, h, p, page)
	page.Lives = []int{15, 60, 240, 480}
	return render(w, r, status, nameOf(p), page)
}

// state says what stands between the person and signing in.
func (d *Desk) state(ctx context.Context, page *templates.HelpdeskPerson, p directory.Person) error {
	lock, err := d.signin.LockOf(ctx, p.ID)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	page.LockedSince, page.LockedWay, page.LockedBy, page.LockedReason = d.signin.Local(lock.Since), lock.Way, lock.Actor.Name, lock.Reason
	guesses, err := d.signin.LockState(ctx, p.Login)
	if errors.Is(err, directory.ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	page.Passwords, page.PasswordUntil = guesses.Passwords, d.signin.Local(guesses.PasswordUntil)
	page.Codes, page.CodeUntil = guesses.Factors, d.signin.Local(guesses.FactorUntil)
	return nil
}

// holdings lists factors, trusted browsers, keys and sessions.
func (d *Desk) holdings(ctx context.Context, r *http.Request, page *templates.HelpdeskPerson, p directory.Person) error {
	factors, err := d.mfa.Factors(ctx, p.ID)
	if err != nil {
		return err
	}
	for _, one := range factors {
		info := templates.AccountFactorInfo{ID: one.ID, Kind: string(one.Kind), Name: one.Name, Detail: one.Detail, Left: one.Left,
			Created: d.signin.Local(one.Created), Used: d.signin.Local(one.Used), Ends: d.signin.Local(one.Ends)}
		if one.Kind == mfa.Device {
			browser, system := signin.AgentName(one.Name)
			info.Name = strings.TrimSpace(browser + " " + system)
		}
		if one.Kind == mfa.Pass {
			page.HasPass = true
		}
		page.Factors = append(page.Factors, info)
	}
	keys, err := d.mfa.KeysOf(ctx, p.ID)
	if err != nil {
		return err
	}
	for _, k := range keys {
		page.Keys = append(page.Keys, templates.HelpdeskPersonKey{Serial: k.Serial, Model: k.Model, State: string(k.State), Losable: k.State != mfa.KeyLost && k.State != mfa.KeyReturned && k.State != mfa.KeyRetired})
	}
	page.Sessions, err = d.signin.SessionCount(ctx, p.ID)
	return err
}

// story is what happened lately, in plain words.
func (d *Desk) story(ctx context.Context, r *http.Request, page *templates.HelpdeskPerson, p directory.Person) error {
	rows, err := d.audit.Search(ctx, audit.Filter{Target: p.ID, Actions: signin.StoryActions(), Limit: 20})
	if err != nil {
		return err
	}
	for _, row := range rows {
		told := signin.Story(web.Lang(ctx), row)
		if told == "" {
			continue
		}
		e := templates.AccountEvent{At: d.signin.Local(row.At), Text: told, Application: row.Application, Place: row.Address, Bad: row.Outcome != "ok"}
		if browser, system := signin.AgentName(row.Agent); browser != "" {
			e.Browser = strings.TrimSpace(browser + " " + system)
		}
		if row.Actor.ID != p.ID && row.Actor.Kind != "anonymous" && row.Actor.Kind != "system" {
			e.By = row.Actor.Name
		}
		if reason := row.Detail["reason"]; row.Actor.Kind != "anonymous" && e.By != "" && row.Outcome == "ok" && reason != "" {
			e.Text += " : " + reason
		}
		page.Story = append(page.Story, e)
	}
	return nil
}

// verification is how the caller was verified, or can be.
func (d *Desk) verification(ctx context.Context, r *http.Request, page *templates.HelpdeskPerson, h Helper, p directory.Person) error {
	v, err := d.Verification(ctx, h, p.ID)
	if err != nil {
		return err
	}
	page.VerifiedWay, page.VerifiedAt, page.Ways = v.Way, d.signin.Local(v.At), d.ways()
	if page.Way == "" && len(page.Ways) > 0 {
		page.Way = page.Ways[0]
	}
	return nil
}

// pending lists what waits for a second person.
func (d *Desk) pending(ctx context.Context, r *http.Request, page *templates.HelpdeskPerson, p directory.Person) error {
	all, err := d.requestsOf(ctx, p.ID, 5)
	if err != nil {
		return err
	}
	for _, q := range all {
		page.Requests = append(page.Requests, d.requestInfo(r, q))
	}
	return nil
}

func (d *Desk) requestInfo(r *http.Request, q Request) templates.HelpdeskRequest {
	return templates.HelpdeskRequest{
		ID: q.ID, Action: text(r, actionKeys[q.Order.Action]), Person: q.Order.Person, PersonName: q.PersonName, Reason: q.Order.Reason, Verified: q.Verified, Asker: q.AskerName,
		Created: d.signin.Local(q.Created), Ends: d.signin.Local(q.Ends), State: q.State, Decider: q.DeciderName, Decided: d.signin.Local(q.Decided), Answer: q.Answer,
	}
}

// actionKeys are the names of actions, as a button says them.
var actionKeys = map[Action]string{
	Reset: "helpdesk.action.reset", Pass: "helpdesk.action.pass", Unlock: "helpdesk.action.unlock", Lock: "helpdesk.action.lock", Open: "helpdesk.action.open",
	Sessions: "helpdesk.action.sessions", Keys: "helpdesk.action.keys", Letter: "helpdesk.action.letter", Read: "helpdesk.action.read", Approve: "helpdesk.action.approve",
}

// effects say what a button brings about, under it.
var effects = map[Action]string{
	Reset: "helpdesk.effect.reset", Pass: "helpdesk.effect.pass", Letter: "helpdesk.effect.letter", Unlock: "helpdesk.effect.unlock", Lock: "helpdesk.effect.lock", Open: "helpdesk.effect.open", Sessions: "helpdesk.effect.sessions",
}

// actions are the buttons of a person's page: what may be done, and why not the
// rest. What makes no sense now is left out.
func (d *Desk) actions(r *http.Request, h Helper, p directory.Person, page *templates.HelpdeskPerson) []templates.HelpdeskAction {
	var all []templates.HelpdeskAction
	locked := !page.LockedSince.IsZero()
	for _, a := range []Action{Unlock, Reset, Pass, Letter, Open, Sessions, Lock} {
		switch {
		case a == Unlock && page.Passwords == 0 && page.Codes == 0, a == Open && !locked, a == Lock && locked, a == Sessions && page.Sessions == 0:
			continue
		case a == Reset && len(page.Factors) == 0:
			continue
		}
		one := templates.HelpdeskAction{Action: string(a), Name: text(r, actionKeys[a]), Effect: text(r, effects[a]), Danger: a == Lock || a == Reset || a == Sessions}
		err := d.rules.May(h, a, p, d.now())
		switch no := Refused(err); {
		case no == nil:
			one.May = true
		case no.Reason == Second:
			one.May, one.Second = true, true
		default:
			one.Why = d.refusal(r, no)
		}
		one.Verify = NeedsVerified(a) && page.VerifiedWay == ""
		all = append(all, one)
	}
	return all
}

// postVerify answers POST /helpdesk/{sub}/verify, fields way, said and remark.
func (d *Desk) postVerify(w http.ResponseWriter, r *http.Request, h Helper, p directory.Person) error {
	f := form{way: web.Field(r, "way"), remark: web.Field(r, "remark"), reason: web.Field(r, "reason")}
	if same(h.Person, p) {
		no := &Refusal{Reason: Self}
		d.refuse(r.Context(), h, Read, p.ID, no)
		return d.renderRefused(w, r, no, nameOf(p))
	}
	said := web.Field(r, "phrase")
	if f.way == ByCode {
		said = web.Field(r, "code")
	}
	err := d.Verify(r.Context(), h, p.ID, f.way, said, f.remark)
	status := http.StatusUnprocessableEntity
	switch {
	case err == nil:
		return web.Redirect(w, r, personPath(p.ID)+"?done=verified")
	case errors.Is(err, ErrWrongPhrase) && f.way == ByCode:
		f.problem = "code"
	case errors.Is(err, ErrWrongPhrase):
		f.problem = "phrase"
	case errors.Is(err, ErrTooManyGuesses):
		f.problem, status = "guesses", http.StatusTooManyRequests
	case errors.Is(err, ErrRemark), errors.Is(err, ErrWay):
		f.problem = "remark"
	default:
		return err
	}
	return d.renderPerson(w, r, status, h, p, f)
}

// postCode answers POST /helpdesk/{sub}/code: a code goes to a known address.
func (d *Desk) postCode(w http.ResponseWriter, r *http.Request, h Helper, p directory.Person) error {
	if d.codes == nil || !d.rules.Verifies(ByCode) || same(h.Person, p) {
		return web.Fail(http.StatusNotFound, "helpdesk.problem.sent", nil)
	}
	if _, err := d.codes.SendCode(r.Context(), h.actor(), p.ID); err != nil {
		d.log.InfoContext(r.Context(), "no code could be sent for the helpdesk", "person", p.ID, "why", err)
		return d.renderPerson(w, r, http.StatusUnprocessableEntity, h, p, form{way: ByCode, problem: "sent"})
	}
	return web.Redirect(w, r, personPath(p.ID)+"?done=sent")
}

// passLives are the lives of a pass that the page offers, by the form's value.
var passLives = map[string]time.Duration{"": 0, "15": 15 * time.Minute, "60": time.Hour, "240": 4 * time.Hour, "480": 8 * time.Hour}

// postAction answers POST /helpdesk/{sub}/{action}.
func (d *Desk) postAction(w http.ResponseWriter, r *http.Request) error {
	h, p, ok, err := d.served(w, r)
	if !ok {
		return err
	}
	switch r.PathValue("action") {
	case "verify":
		return d.postVerify(w, r, h, p)
	case "code":
		return d.postCode(w, r, h, p)
	}
	o := Order{Action: Action(r.PathValue("action")), Person: p.ID, Reason: web.Field(r, "reason"), Factor: web.Field(r, "factor"), Serial: web.Field(r, "serial")}
	if o.Action == Read || o.Action == Approve || actionKeys[o.Action] == "" {
		return web.Fail(http.StatusNotFound, "web.error.not_found", nil)
	}
	word := string(o.Action)
	switch o.Action {
	case Reset:
		if o.Factor != "" {
			word = "factor"
		}
	case Pass:
		life, known := passLives[web.Field(r, "life")]
		if !known {
			return d.renderPerson(w, r, http.StatusUnprocessableEntity, h, p, form{reason: o.Reason, problem: "life"})
		}
		o.Life, o.SignsIn, o.Often, o.Revoke = life, web.Field(r, "use") == "signin", web.Field(r, "often") != "", web.Field(r, "revoke") != ""
		if o.Revoke {
			word = "revoke"
		}
	}
	done, err := d.Do(r.Context(), h, o)
	f := form{reason: o.Reason}
	switch no := Refused(err); {
	case err == nil && done.Request != "":
		return web.Redirect(w, r, personPath(p.ID)+"?done=asked")
	case err == nil && done.Code != "" && o.Action == Letter:
		return d.writeLetters(w, done)
	case err == nil && done.Code != "":
		f.pass, f.reason = &done, ""
		return d.renderPerson(w, r, http.StatusOK, h, p, f)
	case err == nil:
		return web.Redirect(w, r, personPath(p.ID)+"?done="+word)
	case no != nil:
		return d.renderRefused(w, r, no, nameOf(p))
	case errors.Is(err, ErrNoReason):
		f.problem = "reason"
	case errors.Is(err, ErrNotVerified):
		f.problem = "verify"
	case errors.Is(err, ErrNothing):
		f.problem = "nothing"
	case errors.Is(err, ErrAsked):
		f.problem = "asked"
	case errors.Is(err, mfa.ErrPassLife):
		f.problem = "life"
	default:
		return err
	}
	return d.renderPerson(w, r, http.StatusUnprocessableEntity, h, p, f)
}

// showRequests answers GET /helpdesk/requests.
func (d *Desk) showRequests(w http.ResponseWriter, r *http.Request) error {
	h, ok, err := d.helper(w, r, "/helpdesk/requests")
	if !ok {
		return err
	}
	return d.renderRequests(w, r, http.StatusOK, h, "", nil)
}

func (d *Desk) renderRequests(w http.ResponseWriter, r *http.Request, status int, h Helper, problem string, pass *Done) error {
	open, mine, err := d.openRequests(r.Context(), h.Person.ID)
	if err != nil {
		return err
	}
	page := &templates.HelpdeskRequests{Problem: problem}
	if pass != nil {
		page.Pass, page.PassEnds = pass.Code, d.signin.Local(pass.Ends)
	}
	for _, q := range open {
		ok, err := d.couldDecide(r.Context(), h, q)
		if err != nil {
			return err
		}
		if ok {
			page.Open = append(page.Open, d.requestInfo(r, q))
		}
	}
	for _, q := range mine {
		page.Mine = append(page.Mine, d.requestInfo(r, q))
	}
	switch r.URL.Query().Get("done") {
	case "yes":
		page.Done = text(r, "helpdesk.requests.yes")
	case "no":
		page.Done = text(r, "helpdesk.requests.no")
	}
	return render(w, r, status, text(r, "helpdesk.requests.title"), page)
}

// postRequest answers POST /helpdesk/requests/{id}, fields answer (yes, no) and
// reason.
func (d *Desk) postRequest(w http.ResponseWriter, r *http.Request) error {
	h, ok, err := d.helper(w, r, "/helpdesk/requests")
	if !ok {
		return err
	}
	answer := web.Field(r, "answer")
	if answer != "yes" && answer != "no" {
		return d.renderRequests(w, r, http.StatusUnprocessableEntity, h, text(r, "helpdesk.requests.choose"), nil)
	}
	done, q, err := d.Decide(r.Context(), h, r.PathValue("id"), answer == "yes", web.Field(r, "reason"))
	switch no := Refused(err); {
	case err == nil && done.Code != "" && q.Order.Action == Letter:
		return d.writeLetters(w, done)
	case err == nil && done.Code != "":
		return d.renderRequests(w, r, http.StatusOK, h, "", &done)
	case err == nil:
		return web.Redirect(w, r, "/helpdesk/requests?done="+answer)
	case no != nil:
		return d.renderRefused(w, r, no, q.PersonName)
	case errors.Is(err, db.ErrNotFound):
		return d.renderRequests(w, r, http.StatusConflict, h, text(r, "helpdesk.requests.gone"), nil)
	case errors.Is(err, ErrNoReason):
		return d.renderRequests(w, r, http.StatusUnprocessableEntity, h, text(r, "helpdesk.requests.reason"), nil)
	case errors.Is(err, ErrNothing):
		return d.renderRequests(w, r, http.StatusConflict, h, text(r, "helpdesk.problem.nothing"), nil)
	}
	return err
}

// showPhrase answers GET /account/phrase, the person's own page.
func (d *Desk) showPhrase(w http.ResponseWriter, r *http.Request) error {
	v, ok, err := d.caller(w, r)
	if !ok {
		return err
	}
	page := &templates.AccountPhrase{}
	phrase, ends, err := d.Phrase(r.Context(), v.Person)
	if err != nil {
		return err
	}
	page.Words, page.Ends = strings.Fields(phrase), d.signin.Local(ends)
	return render(w, r, http.StatusOK, text(r, "helpdesk.phrase.title"), page)
}

// postPhrase answers POST /account/phrase.
func (d *Desk) postPhrase(w http.ResponseWriter, r *http.Request) error {
	v, ok, err := d.caller(w, r)
	if !ok {
		return err
	}
	if _, _, err := d.NewPhrase(r.Context(), v.Actor(), v.Person); err != nil {
		return err
	}
	return web.Redirect(w, r, "/account/phrase")
}

// caller is the person of the phrase's page. The words stand for a second factor
// on the telephone: a browser that proved none may not show them, or whoever has
// the password alone could have the others reset.
func (d *Desk) caller(w http.ResponseWriter, r *http.Request) (v signin.Visitor, ok bool, err error) {
	v = signin.VisitorOf(r.Context())
	if v.Person == "" {
		return v, false, d.signin.Begin(w, r, signin.AccountRequest("/account/phrase"))
	}
	if v.FactorAt.IsZero() {
		return v, false, render(w, r, http.StatusForbidden, text(r, "helpdesk.phrase.title"), &templates.AccountPhrase{Weak: true})
	}
	return v, true, nil
}
