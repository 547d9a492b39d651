package helpdesk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"beffroi/directory"
	"beffroi/internal/i18n"
	"beffroi/internal/letter"
	"beffroi/internal/secret"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/signin"
	"beffroi/templates"
)

// lettersMost is how many letters are written at once: a page of people, who are
// looked up one by one, and some seconds of drawing.
const lettersMost = 100

// EnrolPath leads to the page that an enrolment letter names; the code stands
// behind a #, which no browser sends to a server and no log keeps.
const EnrolPath = "/enrol"

// writeLetters answers with the letters of passes that were just given, a page
// each. They are kept nowhere: whoever loses them writes others, and these are void.
func (d *Desk) writeLetters(w http.ResponseWriter, all ...Done) error {
	letters := make([]letter.Letter, 0, len(all))
	for _, one := range all {
		l, err := d.letterOf(one)
		if err != nil {
			return err
		}
		letters = append(letters, l)
	}
	var b bytes.Buffer
	if err := letter.WriteAll(&b, d.now(), letters...); err != nil {
		return err
	}
	name := "lettres.pdf"
	if len(all) == 1 {
		name = "lettre-" + url.PathEscape(all[0].Person.Login) + ".pdf"
	}
	return writePDF(w, name, b.Bytes())
}

// letterOf is the letter that brings a person to a first factor, in the person's
// language.
func (d *Desk) letterOf(done Done) (letter.Letter, error) {
	p, l := done.Person, signin.LanguageOf(done.Person)
	address := d.address + EnrolPath
	picture, err := mfa.QR(address + "#" + done.Code)
	if err != nil {
		return letter.Letter{}, err
	}
	from := []string{d.name}
	if d.contact != "" {
		from = append(from, d.contact)
	}
	to := append([]string{nameOf(p)}, p.UAI...)
	return letter.Letter{
		Lang: string(l), From: from, To: to, Place: i18n.Date(l, d.signin.Local(d.now()), "day"),
		Subject:    i18n.T(l, "helpdesk.letter.subject"),
		Paragraphs: []string{i18n.T(l, "helpdesk.letter.hello", "name", nameOf(p)), i18n.T(l, "helpdesk.letter.why", "login", p.Login, "date", i18n.Date(l, d.signin.Local(done.Ends), "day"))},
		Steps:      []string{i18n.T(l, "helpdesk.letter.one", "address", strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://")), i18n.T(l, "helpdesk.letter.two", "login", p.Login), i18n.T(l, "helpdesk.letter.three", "code", done.Code), i18n.T(l, "helpdesk.letter.four")},
		Picture:    picture, Caption: address + "   ·   " + done.Code,
		After: []string{i18n.T(l, "helpdesk.letter.alone")}, Foot: i18n.T(l, "helpdesk.letter.foot"),
	}, nil
}

// mailing is who of a school would get a letter.
type mailing struct {
	people []directory.Person // at most lettersMost
	more   bool               // others wait for the next one
	have   int                // have a letter that is still good; among people only when asked for again
	out    []templates.HelpdeskWho
}

// mailing finds the people of a school who have no factor and whom the helper
// may write to: of those left out, the page says why.
func (d *Desk) mailing(r *http.Request, h Helper, uai string, again bool) (m mailing, err error) {
	ctx := r.Context()
	roll, err := d.roll.Roll(ctx, []directory.Within{{Schools: []string{uai}}})
	if err != nil {
		return m, web.Fail(http.StatusServiceUnavailable, "helpdesk.error.directory", err)
	}
	holders, err := d.mfa.Holders(ctx)
	if err != nil {
		return m, err
	}
	passes, err := d.mfa.PassHolders(ctx)
	if err != nil {
		return m, err
	}
	for _, one := range roll {
		if len(holders[one.ID]) > 0 {
			continue
		}
		if passes[one.ID] {
			m.have++
			if !again {
				continue
			}
		}
		if len(m.people) == lettersMost {
			m.more = true
			break
		}
		p, err := d.directory.ByID(ctx, one.ID)
		if errors.Is(err, directory.ErrUnknown) || err == nil && p.Disabled {
			continue
		}
		if err != nil {
			return m, web.Fail(http.StatusServiceUnavailable, "helpdesk.error.directory", err)
		}
		switch no := Refused(d.rules.May(h, Letter, p, d.now())); {
		case no == nil:
			m.people = append(m.people, p)
		case no.Reason == Stale:
			return m, no
		default:
			m.out = append(m.out, templates.HelpdeskWho{ID: p.ID, Name: nameOf(p), Login: p.Login, Title: d.refusal(r, no)})
		}
	}
	return m, nil
}

// schoolLetters is a helper who may write to a school as a whole; else it has
// answered.
func (d *Desk) schoolLetters(w http.ResponseWriter, r *http.Request) (h Helper, uai string, ok bool, err error) {
	uai = strings.ToUpper(r.PathValue("uai"))
	h, ok, err = d.helper(w, r, "/helpdesk/schools/"+url.PathEscape(uai)+"/letters")
	if !ok {
		return h, uai, false, err
	}
	if d.mayWrite(h, uai) {
		if d.roll == nil || !uaiCode.MatchString(uai) {
			return h, uai, false, web.Fail(http.StatusNotFound, "web.error.not_found", nil)
		}
		return h, uai, true, nil
	}
	no := &Refusal{Reason: Scope, Schools: []string{uai}}
	if running, _ := d.rules.running(h, d.now()); d.rules.servesSchool(running, uai) {
		no = &Refusal{Reason: NoAction}
	}
	d.refuse(r.Context(), h, Letter, "", no)
	return h, uai, false, d.renderRefused(w, r, no, uai)
}

// showLetters answers GET /helpdesk/schools/{uai}/letters, query who: how many
// letters there would be, and to whom. It writes none.
func (d *Desk) showLetters(w http.ResponseWriter, r *http.Request) error {
	h, uai, ok, err := d.schoolLetters(w, r)
	if !ok {
		return err
	}
	who := r.URL.Query().Get("who")
	if !slices.Contains(lettersTo, who) {
		return d.renderLetters(w, r, http.StatusBadRequest, h, uai, "", "", "helpdesk.letters.who.unknown")
	}
	return d.renderLetters(w, r, http.StatusOK, h, uai, who, "", "")
}

// lettersTo are the values of who: those who have no letter yet, or also those
// whose letter is still good, which the new one voids.
var lettersTo = []string{"", "again"}

func (d *Desk) renderLetters(w http.ResponseWriter, r *http.Request, status int, h Helper, uai, who, reason, problem string) error {
	m, err := d.mailing(r, h, uai, who == "again")
	if no := Refused(err); no != nil {
		return d.renderRefused(w, r, no, uai)
	}
	if err != nil {
		return err
	}
	page := &templates.HelpdeskLetters{UAI: uai, Who: who, People: len(m.people), Have: m.have, More: m.more, Out: m.out, Typed: reason, Days: int(d.mfa.Passes().Letter.Hours() / 24)}
	if key := lettersProblems[problem]; key != "" {
		page.Problem = text(r, key)
	}
	for _, p := range m.people {
		page.Names = append(page.Names, personInfo(p))
	}
	return render(w, r, status, text(r, "helpdesk.letters.title", "uai", uai), page)
}

var lettersProblems = map[string]string{
	"helpdesk.letters.who.unknown": "helpdesk.letters.who.unknown", "helpdesk.letters.changed": "helpdesk.letters.changed", "helpdesk.problem.reason": "helpdesk.problem.reason",
}

// postLetters answers POST /helpdesk/schools/{uai}/letters, fields who, reason and
// people, the number that the page showed: when it is another one now, nothing is
// written. All the letters are good, or none is.
func (d *Desk) postLetters(w http.ResponseWriter, r *http.Request) error {
	h, uai, ok, err := d.schoolLetters(w, r)
	if !ok {
		return err
	}
	who, reason := web.Field(r, "who"), strings.Join(strings.Fields(web.Field(r, "reason")), " ")
	if !slices.Contains(lettersTo, who) {
		return d.renderLetters(w, r, http.StatusBadRequest, h, uai, "", reason, "helpdesk.letters.who.unknown")
	}
	if n := utf8.RuneCountInString(reason); n < reasonLeast || n > reasonMost {
		return d.renderLetters(w, r, http.StatusUnprocessableEntity, h, uai, who, reason, "helpdesk.problem.reason")
	}
	m, err := d.mailing(r, h, uai, who == "again")
	if no := Refused(err); no != nil {
		return d.renderRefused(w, r, no, uai)
	}
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(web.Field(r, "people")); err != nil || n != len(m.people) || n == 0 {
		return d.renderLetters(w, r, http.StatusConflict, h, uai, who, reason, "helpdesk.letters.changed")
	}
	batch, all := secret.Random()[:12], make([]Done, len(m.people))
	err = d.db.InTx(r.Context(), func(ctx context.Context) error {
		for i, p := range m.people {
			all[i] = Done{Person: p}
			o := Order{Action: Letter, Person: p.ID, Reason: reason}
			if err := d.carryOut(ctx, h.actor(), h, o, &all[i], map[string]string{"batch": batch, "school": uai, "people": strconv.Itoa(len(m.people))}); err != nil {
				return fmt.Errorf("letter to %s: %w", p.Login, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.writeLetters(w, all...)
}

// mayWrite tells whether the helper could write to the school as a whole.
func (d *Desk) mayWrite(h Helper, uai string) bool {
	running, _ := d.rules.running(h, d.now())
	return d.rules.servesSchool(slices.DeleteFunc(running, func(g given) bool { return !slices.Contains(g.actions, Letter) }), uai)
}
