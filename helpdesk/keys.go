package helpdesk

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/i18n"
	"beffroi/internal/letter"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// keysPage is how many keys a page lists.
const keysPage = 50

// KeySchools are the schools whose keys the helper may see and move; all, with
// the academy's own stock among them, for who serves everyone. *Refusal when
// there are none.
func (r *Rules) KeySchools(h Helper, now time.Time) (schools []string, all bool, err error) {
	running, err := r.running(h, now)
	if err != nil {
		return nil, false, err
	}
	for _, g := range running {
		if !slices.Contains(g.actions, Keys) {
			continue
		}
		all = all || g.Everyone
		for _, uai := range g.Schools {
			if !slices.Contains(schools, uai) {
				schools = append(schools, uai)
			}
		}
	}
	if len(schools) == 0 && !all {
		return nil, false, &Refusal{Reason: NoAction}
	}
	return schools, all, nil
}

// keeper is a helper who may see keys; the filter holds them to their schools.
func (d *Desk) keeper(w http.ResponseWriter, r *http.Request, path string) (h Helper, schools []string, all, ok bool, err error) {
	if h, ok, err = d.helper(w, r, path); !ok {
		return h, nil, false, false, err
	}
	schools, all, err = d.rules.KeySchools(h, d.now())
	if no := Refused(err); no != nil {
		d.refuse(r.Context(), h, Keys, "", no)
		return h, nil, false, false, d.renderRefused(w, r, no, "")
	}
	return h, schools, all, err == nil, err
}

func scoped(f mfa.KeyFilter, schools []string, all bool) mfa.KeyFilter {
	if !all {
		f.Of = append([]string{}, schools...)
	}
	return f
}

// mountKeys adds the pages of OTP keys.
func (d *Desk) mountKeys(page func(string, web.Handler)) {
	page("GET /helpdesk/keys", d.showKeys)
	page("POST /helpdesk/keys/import", web.MaxBody(mfa.MaxKeyFile+1<<20, d.postImport))
	page("GET /helpdesk/keys/imports/{id}", d.showImport)
	page("POST /helpdesk/keys/imports/{id}", d.postDecideImport)
	page("GET /helpdesk/keys/{serial}", d.showKey)
	page("POST /helpdesk/keys/{serial}", d.postKey)
	page("GET /helpdesk/receipts/{serial}", d.showReceipt)
}

// showKeys answers GET /helpdesk/keys: the stock, and a list by filter.
func (d *Desk) showKeys(w http.ResponseWriter, r *http.Request) error {
	h, schools, all, ok, err := d.keeper(w, r, "/helpdesk/keys")
	if !ok {
		return err
	}
	return d.renderKeys(w, r, http.StatusOK, h, schools, all, "")
}

func (d *Desk) renderKeys(w http.ResponseWriter, r *http.Request, status int, h Helper, schools []string, all bool, problem string) error {
	ctx := r.Context()
	query := r.URL.Query()
	after := query.Get("after")
	query.Del("after")
	page := &templates.HelpdeskKeys{Problem: problem, Schools: schools, All: all, After: after}
	f, err := mfa.ParseKeyFilter(query)
	if errors.Is(err, mfa.ErrKeyFilter) {
		return web.Fail(http.StatusBadRequest, "helpdesk.keys.filter", err)
	}
	if err != nil {
		return err
	}
	f = scoped(f, schools, all)
	page.Serial, page.School, page.State, page.Lot = f.Serial, f.School, string(f.State), f.Lot
	for _, s := range mfa.KeyStates {
		page.States = append(page.States, string(s))
	}
	stock, err := d.mfa.Stock(ctx, scoped(mfa.KeyFilter{}, schools, all))
	if err != nil {
		return err
	}
	for _, one := range stock {
		line := templates.HelpdeskStock{School: one.School, All: one.All}
		for _, s := range mfa.KeyStates {
			line.Counts = append(line.Counts, one.Count[s])
		}
		page.Stock = append(page.Stock, line)
	}
	if page.Count, err = d.mfa.CountKeys(ctx, f); err != nil {
		return err
	}
	keys, err := d.mfa.Keys(ctx, f, after, keysPage+1)
	if err != nil {
		return err
	}
	if len(keys) > keysPage {
		keys = keys[:keysPage]
		next := f.Values()
		next.Set("after", keys[keysPage-1].Serial)
		page.Next = "/helpdesk/keys?" + next.Encode()
	}
	for _, k := range keys {
		page.Keys = append(page.Keys, d.keyInfo(k))
	}
	imports, err := d.mfa.KeyImports(ctx, 5)
	if err != nil {
		return err
	}
	for _, i := range imports {
		if all || slices.Contains(schools, i.School) {
			page.Imports = append(page.Imports, d.importInfo(i))
		}
	}
	return render(w, r, status, text(r, "helpdesk.keys.title"), page)
}

func (d *Desk) keyInfo(k mfa.OTPKey) templates.HelpdeskOTPKey {
	return templates.HelpdeskOTPKey{
		Serial: k.Serial, Model: k.Model, Kind: k.Algorithm, Digits: k.Digits, State: string(k.State), School: k.School, Person: k.Person, Holder: k.Holder, Lot: k.Lot, Overdue: k.Overdue(d.now()),
		Drift: int(k.Drift / time.Second), Ends: d.signin.Local(k.Until()), Created: d.signin.Local(k.Created), Handed: d.signin.Local(k.Handed), Activated: d.signin.Local(k.Activated), Used: d.signin.Local(k.Used),
	}
}

func (d *Desk) importInfo(i mfa.KeyImport) templates.HelpdeskImportInfo {
	info := templates.HelpdeskImportInfo{ID: i.ID, Name: i.Name, Format: i.Format, School: i.School, Author: i.Author, State: i.State, Done: i.Done, Total: i.Total, Good: i.Good, Bad: i.Bad, Created: d.signin.Local(i.Created)}
	for _, b := range i.Report {
		info.Report = append(info.Report, templates.HelpdeskBadKey{Line: b.Line, Serial: b.Serial, Problem: b.Problem, Found: b.Found})
	}
	return info
}

// postImport answers POST /helpdesk/keys/import: a file, read in the background.
func (d *Desk) postImport(w http.ResponseWriter, r *http.Request) error {
	h, schools, all, ok, err := d.keeper(w, r, "/helpdesk/keys")
	if !ok {
		return err
	}
	again := func(key string) error {
		return d.renderKeys(w, r, http.StatusUnprocessableEntity, h, schools, all, text(r, key))
	}
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return again("helpdesk.import.size")
		}
		return again("helpdesk.import.empty")
	}
	u := mfa.KeyUpload{School: strings.ToUpper(strings.TrimSpace(r.PostFormValue("school"))), Secrets: mfa.KeySecrets{Password: r.PostFormValue("password")}}
	if !all && !slices.Contains(schools, u.School) || u.School != "" && !uaiCode.MatchString(u.School) {
		return again("helpdesk.import.school")
	}
	if key := strings.Join(strings.Fields(r.PostFormValue("key")), ""); key != "" {
		if u.Secrets.Key, err = hex.DecodeString(key); err != nil {
			return again("helpdesk.import.key")
		}
	}
	file, head, err := r.FormFile("file")
	if err != nil {
		return again("helpdesk.import.empty")
	}
	defer func() { _ = file.Close() }()
	u.Name = head.Filename
	if u.File, err = io.ReadAll(io.LimitReader(file, mfa.MaxKeyFile+1)); err != nil {
		return err
	}
	id, err := d.mfa.StageKeys(r.Context(), h.actor(), u)
	var bad *mfa.ErrKeyFile
	switch {
	case errors.As(err, &bad) && bad.Problem == "size":
		return again("helpdesk.import.size")
	case errors.As(err, &bad):
		return again("helpdesk.import.empty")
	case err != nil:
		return err
	}
	return web.Redirect(w, r, "/helpdesk/keys/imports/"+url.PathEscape(id))
}

// myImport is the import of the address, if it is within the helper's schools.
func (d *Desk) myImport(w http.ResponseWriter, r *http.Request) (h Helper, i mfa.KeyImport, ok bool, err error) {
	id := r.PathValue("id")
	h, schools, all, ok, err := d.keeper(w, r, "/helpdesk/keys/imports/"+url.PathEscape(id))
	if !ok {
		return h, i, false, err
	}
	i, err = d.mfa.KeyImport(r.Context(), id)
	if errors.Is(err, db.ErrNotFound) || err == nil && !all && !slices.Contains(schools, i.School) {
		return h, i, false, web.Fail(http.StatusNotFound, "helpdesk.import.gone", err)
	}
	return h, i, err == nil, err
}

// showImport answers GET /helpdesk/keys/imports/{id}: how far, then the report
// and the question.
func (d *Desk) showImport(w http.ResponseWriter, r *http.Request) error {
	_, i, ok, err := d.myImport(w, r)
	if !ok {
		return err
	}
	return d.renderImport(w, r, http.StatusOK, i, "")
}

func (d *Desk) renderImport(w http.ResponseWriter, r *http.Request, status int, i mfa.KeyImport, problem string) error {
	if i.State == mfa.ImportReading {
		w.Header().Set("Refresh", "1") // works without a script
	}
	page := &templates.HelpdeskImport{Import: d.importInfo(i), Problem: problem}
	return render(w, r, status, text(r, "helpdesk.import.title"), page)
}

// postDecideImport answers POST /helpdesk/keys/imports/{id}, fields answer (take,
// drop), good (the number that was shown) and only_good.
func (d *Desk) postDecideImport(w http.ResponseWriter, r *http.Request) error {
	h, i, ok, err := d.myImport(w, r)
	if !ok {
		return err
	}
	var count *mfa.ErrKeyCount
	var known *mfa.ErrKeyKnown
	switch web.Field(r, "answer") {
	case "drop":
		err = d.mfa.DropImport(r.Context(), h.actor(), i.ID)
	case "take":
		good, _ := strconv.Atoi(web.Field(r, "good"))
		err = d.mfa.TakeImport(r.Context(), h.actor(), i.ID, good, web.Field(r, "only_good") != "")
	default:
		return d.renderImport(w, r, http.StatusUnprocessableEntity, i, text(r, "helpdesk.import.choose"))
	}
	problem := ""
	switch {
	case err == nil:
		return web.Redirect(w, r, "/helpdesk/keys/imports/"+url.PathEscape(i.ID))
	case errors.As(err, &count), errors.As(err, &known):
		problem = "helpdesk.import.changed"
	case errors.Is(err, mfa.ErrImportBad):
		problem = "helpdesk.import.bad"
	case errors.Is(err, mfa.ErrImportState):
		problem = "helpdesk.import.state"
	default:
		return err
	}
	if i, err = d.mfa.KeyImport(r.Context(), i.ID); err != nil {
		return err
	}
	return d.renderImport(w, r, http.StatusConflict, i, text(r, problem))
}

// myKey is the key of the address, if it is within the helper's schools or with
// a person whom they serve.
func (d *Desk) myKey(w http.ResponseWriter, r *http.Request) (h Helper, k mfa.OTPKey, schools []string, ok bool, err error) {
	serial := r.PathValue("serial")
	h, schools, all, ok, err := d.keeper(w, r, "/helpdesk/keys/"+url.PathEscape(serial))
	if !ok {
		return h, k, nil, false, err
	}
	k, err = d.mfa.OTPKey(r.Context(), serial)
	if err == nil && !all && !slices.Contains(schools, k.School) {
		err = db.ErrNotFound
	}
	if errors.Is(err, db.ErrNotFound) {
		return h, k, nil, false, web.Fail(http.StatusNotFound, "helpdesk.key.unknown", err)
	}
	return h, k, schools, err == nil, err
}

func (d *Desk) showKey(w http.ResponseWriter, r *http.Request) error {
	h, k, _, ok, err := d.myKey(w, r)
	if !ok {
		return err
	}
	return d.renderKey(w, r, http.StatusOK, h, k, "")
}

// stepKeys are the names of a key's steps, as a button says them.
var stepKeys = map[mfa.KeyStep]string{
	mfa.StepImport: "helpdesk.step.import", mfa.StepMove: "helpdesk.step.move", mfa.StepAssign: "helpdesk.step.assign", mfa.StepUnassign: "helpdesk.step.unassign", mfa.StepHand: "helpdesk.step.hand",
	mfa.StepLend: "helpdesk.step.lend", mfa.StepActivate: "helpdesk.step.activate", mfa.StepDeactivate: "helpdesk.step.deactivate", mfa.StepResync: "helpdesk.step.resync", mfa.StepPIN: "helpdesk.step.pin",
	mfa.StepForget: "helpdesk.step.forget", mfa.StepBlock: "helpdesk.step.block", mfa.StepUnblock: "helpdesk.step.unblock", mfa.StepLose: "helpdesk.step.lose", mfa.StepReturn: "helpdesk.step.return",
	mfa.StepRestock: "helpdesk.step.restock", mfa.StepRetire: "helpdesk.step.retire",
}

func (d *Desk) renderKey(w http.ResponseWriter, r *http.Request, status int, h Helper, k mfa.OTPKey, problem string) error {
	page := &templates.HelpdeskKey{Key: d.keyInfo(k), Problem: problem, Resyncs: k.State == mfa.KeyActive, Receipt: k.InHand()}
	if r.URL.Query().Has("done") && problem == "" {
		page.Done = text(r, "helpdesk.key.done")
	}
	for _, step := range mfa.StepsOf(k) {
		page.Steps = append(page.Steps, templates.HelpdeskStep{Step: string(step), Name: text(r, stepKeys[step]), Danger: step == mfa.StepLose || step == mfa.StepRetire || step == mfa.StepBlock})
		page.ForPerson = page.ForPerson || step == mfa.StepAssign
		page.Lends = page.Lends || step == mfa.StepLend
		page.Moves = page.Moves || step == mfa.StepMove
	}
	life, err := d.mfa.KeyLife(r.Context(), k.Serial)
	if err != nil {
		return err
	}
	for _, e := range life {
		page.Life = append(page.Life, templates.HelpdeskKeyEvent{At: d.signin.Local(e.At), Name: text(r, stepKeys[e.Step]), Author: e.Author, School: e.School, Holder: e.Holder, Reason: e.Reason})
	}
	return render(w, r, status, k.Serial, page)
}

// postKey answers POST /helpdesk/keys/{serial}: field step, and reason, login,
// school, until, or first and second for a resynchronisation.
func (d *Desk) postKey(w http.ResponseWriter, r *http.Request) error {
	h, k, schools, ok, err := d.myKey(w, r)
	if !ok {
		return err
	}
	ctx := r.Context()
	again := func(key string) error {
		return d.renderKey(w, r, http.StatusUnprocessableEntity, h, k, text(r, key))
	}
	reason := strings.Join(strings.Fields(web.Field(r, "reason")), " ")
	if n := len([]rune(reason)); n < reasonLeast || n > reasonMost {
		return again("helpdesk.problem.reason")
	}
	if k.Person != "" { // what is somebody's is touched by the rules of the desk
		p, err := d.directory.ByID(ctx, k.Person)
		if err == nil {
			err = d.rules.May(h, Keys, p, d.now())
		} else if errors.Is(err, directory.ErrUnknown) {
			err = nil // who has left gives the key back all the same
		}
		if no := Refused(err); no != nil {
			d.refuse(ctx, h, Keys, k.Person, no)
			return d.renderRefused(w, r, no, k.Holder)
		}
		if err != nil {
			return web.Fail(http.StatusServiceUnavailable, "helpdesk.error.directory", err)
		}
	}
	step := mfa.KeyStep(web.Field(r, "step"))
	if step == mfa.StepResync {
		err := d.mfa.ResyncKey(ctx, h.actor(), k.Person, k.Serial, web.Field(r, "first"), web.Field(r, "second"), reason)
		if errors.Is(err, mfa.ErrWrongCode) || errors.Is(err, mfa.ErrUsedCode) {
			d.audit.Refuse(ctx, h.actor(), audit.Event{Action: "key.resync", Target: k.Person, Outcome: "refused", Detail: map[string]string{"serial": k.Serial}})
			return again("helpdesk.key.codes")
		}
		if err != nil {
			return err
		}
		return web.Redirect(w, r, "/helpdesk/keys/"+url.PathEscape(k.Serial)+"?done")
	}
	m := mfa.KeyMove{Step: step, Reason: reason}
	switch step {
	case mfa.StepAssign, mfa.StepLend:
		p, err := d.directory.ByLogin(ctx, web.Field(r, "login"))
		if err == nil {
			p, err = d.directory.ByID(ctx, p.ID)
		}
		if errors.Is(err, directory.ErrUnknown) {
			return again("helpdesk.key.nobody")
		}
		if err != nil {
			return web.Fail(http.StatusServiceUnavailable, "helpdesk.error.directory", err)
		}
		if no := Refused(d.rules.May(h, Keys, p, d.now())); no != nil {
			d.refuse(ctx, h, Keys, p.ID, no)
			return again(refusedKeys[no.Reason])
		}
		m.Person, m.Holder = p.ID, nameOf(p)
		if step == mfa.StepLend {
			until, err := time.ParseInLocation(time.DateOnly, web.Field(r, "until"), d.signin.Zone())
			if err != nil {
				return again("helpdesk.key.until")
			}
			m.Ends = until.AddDate(0, 0, 1)
		}
	case mfa.StepMove:
		m.School = strings.ToUpper(web.Field(r, "school"))
		if _, all, _ := d.rules.KeySchools(h, d.now()); !all && !slices.Contains(schools, m.School) || m.School != "" && !uaiCode.MatchString(m.School) {
			return again("helpdesk.import.school")
		}
	}
	_, err = d.mfa.MoveKey(ctx, h.actor(), k.Serial, m)
	var wrong *mfa.ErrKeyStep
	switch {
	case errors.As(err, &wrong), errors.Is(err, mfa.ErrKeyMoved):
		return again("helpdesk.problem.nothing")
	case errors.Is(err, mfa.ErrKeyPerson):
		return again("helpdesk.key.until")
	case err != nil && stepKeys[step] == "":
		return again("helpdesk.import.choose")
	case err != nil:
		return err
	}
	return web.Redirect(w, r, "/helpdesk/keys/"+url.PathEscape(k.Serial)+"?done")
}

// showReceipt answers GET /helpdesk/receipts/{serial}: a page to be signed
// when the key is handed over.
func (d *Desk) showReceipt(w http.ResponseWriter, r *http.Request) error {
	h, k, _, ok, err := d.myKey(w, r)
	if !ok {
		return err
	}
	if !k.InHand() {
		return web.Fail(http.StatusConflict, "helpdesk.key.nohand", nil)
	}
	handed := d.signin.Local(k.Handed)
	lang := string(web.Lang(r.Context()))
	l := letter.Letter{
		Lang: lang, From: []string{nameOf(h.Person), k.School}, To: []string{k.Holder, k.School}, Subject: text(r, "helpdesk.receipt.title", "serial", k.Serial),
		Paragraphs: []string{text(r, "helpdesk.receipt.text", "serial", k.Serial, "name", k.Holder, "date", i18n.Date(web.Lang(r.Context()), handed, "day"))},
		Steps:      []string{text(r, "helpdesk.receipt.one"), text(r, "helpdesk.receipt.two"), text(r, "helpdesk.receipt.three")},
		After:      []string{text(r, "helpdesk.receipt.sign", "name", k.Holder), text(r, "helpdesk.receipt.gives", "name", nameOf(h.Person))},
	}
	if !k.Ends.IsZero() {
		l.Paragraphs = append(l.Paragraphs, text(r, "helpdesk.receipt.loan", "date", i18n.Date(web.Lang(r.Context()), d.signin.Local(k.Until()), "day")))
	}
	var b bytes.Buffer
	if err := l.Write(&b, d.now()); err != nil {
		return err
	}
	return writePDF(w, "recu-"+k.Serial+".pdf", b.Bytes())
}

func writePDF(w http.ResponseWriter, name string, body []byte) error {
	w.Header().Set("Content-Type", "application/pdf")
	w.Header().Set("Content-Disposition", `inline; filename="`+name+`"`)
	_, err := w.Write(body)
	return err
}
