package webmail

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/db"
	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/portal"
	"beffroi/templates"
)

// What is done later: messages that leave at a time of their own, from the outbox,
// and messages that go out of sight and come back.

const (
	latest  = 90 * 24 * time.Hour // how far ahead
	morning = 8                   // o'clock
)

// moments are the times to choose from, none of them in less than an hour or so.
func (s *service) moments(l i18n.Lang) (list []templates.MailMoment) {
	now := s.now().In(s.location)
	day := func(days, hour int) time.Time {
		return time.Date(now.Year(), now.Month(), now.Day()+days, hour, 0, 0, 0, s.location)
	}
	add := func(key string, at time.Time) {
		list = append(list, templates.MailMoment{Label: i18n.T(l, "webmail.moment."+key), Value: at.Format(momentLayout), At: at})
	}
	if now.Hour() < 16 {
		add("evening", day(0, 18))
	}
	add("tomorrow", day(1, morning))
	monday := (8 - int(now.Weekday())) % 7
	if monday == 0 {
		monday = 7
	}
	if monday > 1 {
		add("monday", day(monday, morning))
	}
	return list
}

const momentLayout = "2006-01-02T15:04" // as <input type="datetime-local"> has it

// momentOf reads a time that was chosen. The error is the key of a sentence.
func (s *service) momentOf(text string) (time.Time, string) {
	at, err := time.ParseInLocation(momentLayout, text, s.location)
	switch {
	case err != nil:
		return at, "webmail.moment.none"
	case at.Before(s.now().Add(time.Minute)):
		return at, "webmail.moment.past"
	case at.After(s.now().Add(latest)):
		return at, "webmail.moment.far"
	}
	return at, ""
}

// laterOf reads from the form of a composition when it is to leave: "later" with
// the field at, or "later/TIME" of a button. Zero: not later.
func (s *service) laterOf(form url.Values) (time.Time, *problem) {
	verb, at, ofButton := strings.Cut(form.Get("action"), "/")
	if verb != "later" {
		return time.Time{}, nil
	}
	if !ofButton {
		at = form.Get("at")
	}
	when, wrong := s.momentOf(at)
	if wrong != "" {
		return time.Time{}, &problem{key: wrong, field: "at", status: http.StatusUnprocessableEntity, cause: fmt.Errorf("time %q", at)}
	}
	return when, nil
}

func (s *service) countScheduled(ctx context.Context, sub string) (n int, err error) {
	err = s.db.QueryRow(ctx, "SELECT COUNT(*) FROM mail_outbox WHERE person = $1 AND due > $2 AND state = 'queued' AND attempts = 0", sub, s.now().UnixMicro()).Scan(&n)
	return n, err
}

// endMandates gives the mandate of somebody back for whom nothing is left to send.
func (s *service) endMandates(ctx context.Context, sub string) error {
	var n int
	if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM mail_outbox WHERE person = $1 AND due > 0 AND state IN ('queued', 'sent')", sub).Scan(&n); err != nil || n > 0 {
		return err
	}
	return s.host.EndMandates(ctx, sub)
}

// showScheduled answers GET /mail/scheduled: what leaves later.
func (s *service) showScheduled(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	page := &templates.WebmailScheduled{Done: r.URL.Query().Get("done"), Alone: r.URL.Query().Get("mandate") == "none"}
	all, err := s.outbox(ctx, s.person(ctx).Sub)
	if err != nil {
		return err
	}
	for _, one := range all {
		if one.scheduled.IsZero() {
			continue
		}
		at := one.scheduled.In(s.location)
		page.Messages = append(page.Messages, templates.MailLater{ID: one.id, Subject: one.envelope.Subject, To: strings.Join(one.envelope.To, ", "), At: at})
		if one.id == r.URL.Query().Get("id") {
			page.At = at
		}
	}
	if page.Reminders, err = s.reminderViews(ctx); err != nil {
		return err
	}
	slices.SortFunc(page.Messages, func(a, b templates.MailLater) int { return a.At.Compare(b.At) })
	if page.Layout, page.Folders, _, err = s.settingsParts(ctx, "webmail.scheduled.title"); err != nil {
		return err
	}
	return web.Render(w, r, http.StatusOK, page)
}

// postSnooze answers POST /mail/{box}/snooze: the messages m go out of sight until
// the time at.
func (s *service) postSnooze(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	box := unslug(r.PathValue("box"))
	at, wrong := s.momentOf(web.Field(r, "at"))
	if wrong != "" {
		return web.Fail(http.StatusUnprocessableEntity, wrong, fmt.Errorf("time %q", web.Field(r, "at")))
	}
	refs, err := refsOf(r.PostForm["m"], func(key string) (ref, error) { return parseRef(box, key) })
	if err != nil {
		return err
	}
	back := backTo(web.Field(r, "back"), box)
	if len(refs) == 0 {
		return s.goBack(w, r, back, url.Values{"done": {"none"}})
	}
	var moved []ref
	err = s.with(ctx, func(who owner) (err error) {
		moved, err = s.snooze(ctx, who, refs, at)
		return err
	})
	if err != nil {
		return err
	}
	s.badges.forget(s.person(ctx).Sub)
	said := saidMoved(url.Values{}, "snoozed", refs, moved)
	said.Del("left")
	return s.goBack(w, r, leave(back, box), said)
}

// errNoNames is a server that does not say what a message that was moved is called.
var errNoNames = fmt.Errorf("%w: the mail server has no UIDPLUS", errRefused)

// snooze moves messages to the mailbox where they wait. What comes back is written
// down once it is known what they are called there; until then, and if the portal
// ends in between, they lie in that mailbox in sight.
func (s *service) snooze(ctx context.Context, who owner, refs []ref, at time.Time) ([]ref, error) {
	away, err := s.ensureRole(ctx, who, roleSnoozed)
	if err != nil {
		return nil, err
	}
	if refs[0].box == away { // another time for what waits already; what lies here by chance goes to the inbox
		return nil, s.eachSnoozed(ctx, who.sub, refs, "INBOX", at)
	}
	moved, err := s.move(ctx, who, refs, away)
	if err != nil {
		return moved, err
	}
	if len(moved) != len(refs) {
		return moved, web.Fail(http.StatusBadGateway, "webmail.snooze.never", errNoNames)
	}
	return moved, s.eachSnoozed(ctx, who.sub, moved, refs[0].box, at)
}

func (s *service) eachSnoozed(ctx context.Context, sub string, waiting []ref, target string, at time.Time) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, m := range waiting {
			_, err := s.db.Exec(ctx, `INSERT INTO mail_snooze (person, box, validity, uid, target, due, lease) VALUES ($1, $2, $3, $4, $5, $6, 0)
				ON CONFLICT (person, box, validity, uid) DO UPDATE SET due = excluded.due, lease = 0`, sub, m.box, int64(m.validity), int64(m.uid), target, at.UnixMicro())
			if err != nil {
				return fmt.Errorf("snooze: %w", err)
			}
		}
		return nil
	})
}

// snoozeLease is how long one process has to bring a message back, and how long
// one that could not be brought back is left alone.
const snoozeLease = 2 * time.Minute

// anyDue asks before anything is written: every list asks, and hardly ever is something due.
func (s *service) anyDue(ctx context.Context, query, sub string) (bool, error) {
	var n int
	err := s.db.QueryRow(ctx, query, sub, s.now().UnixMicro()).Scan(&n)
	return n > 0, err
}

// wakeMine brings back what is due of the person who looks.
func (s *service) wakeMine(ctx context.Context, who owner) error {
	now := s.now()
	if any, err := s.anyDue(ctx, "SELECT COUNT(*) FROM mail_snooze WHERE person = $1 AND due <= $2 AND lease < $2", who.sub); err != nil || !any {
		return err
	}
	type one struct {
		at     ref
		target string
	}
	due, err := db.All(ctx, s.db, func(scan func(...any) error) (o one, err error) {
		var validity, uid int64
		err = scan(&o.at.box, &validity, &uid, &o.target)
		o.at.validity, o.at.uid = uint32(validity), imap.UID(uid)
		return o, err
	}, "UPDATE mail_snooze SET lease = $1 WHERE person = $2 AND due <= $3 AND lease < $3 RETURNING box, validity, uid, target",
		now.Add(snoozeLease).UnixMicro(), who.sub, now.UnixMicro())
	if err != nil {
		return fmt.Errorf("wake: %w", err)
	}
	for _, o := range due {
		err := s.wake(ctx, who, o.at, o.target)
		if err != nil && !errors.Is(err, errGone) { // it waits on, and is tried again
			s.log.InfoContext(ctx, "message not brought back yet", "error", err)
			continue
		}
		if _, err := s.db.Exec(ctx, "DELETE FROM mail_snooze WHERE person = $1 AND box = $2 AND validity = $3 AND uid = $4", who.sub, o.at.box, int64(o.at.validity), int64(o.at.uid)); err != nil {
			return fmt.Errorf("wake: %w", err)
		}
	}
	return nil
}

// wake makes a message unread and moves it back, to the inbox when its mailbox is
// gone. One that somebody took away meanwhile stays where it is.
func (s *service) wake(ctx context.Context, who owner, at ref, target string) error {
	if err := s.setFlags(ctx, who, []ref{at}, imap.StoreFlagsDel, imap.FlagSeen); err != nil && !errors.Is(err, errReadOnly) {
		return err
	}
	_, err := s.move(ctx, who, []ref{at}, target)
	switch refusedCode(err) {
	case imap.ResponseCodeTryCreate, imap.ResponseCodeNonExistent, imap.ResponseCodeNoPerm:
		_, err = s.move(ctx, who, []ref{at}, "INBOX")
	}
	return err
}

// wakeAll brings back what is due of everybody who has a session; of the others it
// comes back when they look.
func (s *service) wakeAll(ctx context.Context) error {
	return s.forThoseDue(ctx, "SELECT DISTINCT person FROM mail_snooze WHERE due <= $1 AND lease < $1", s.wakeMine)
}

// forThoseDue does something for everybody whom a query names and who has a session.
func (s *service) forThoseDue(ctx context.Context, query string, do func(ctx context.Context, who owner) error) error {
	people, err := db.All(ctx, s.db, func(scan func(...any) error) (sub string, err error) { return sub, scan(&sub) }, query, s.now().UnixMicro())
	if err != nil {
		return err
	}
	for _, sub := range people {
		theirs, err := s.host.Of(ctx, sub)
		if errors.Is(err, portal.ErrSignedOut) {
			continue
		}
		if err == nil {
			err = s.with(theirs, func(who owner) error { return do(theirs, who) })
		}
		if err != nil {
			s.log.InfoContext(ctx, "what is due of somebody waits on", "error", err)
		}
	}
	return nil
}

// snoozedUntil is when the messages of a page come back, by their keys.
func (s *service) snoozedUntil(ctx context.Context, box string) (map[string]time.Time, error) {
	until := map[string]time.Time{}
	_, err := db.All(ctx, s.db, func(scan func(...any) error) (struct{}, error) {
		var validity, uid, due int64
		err := scan(&validity, &uid, &due)
		until[strconv.FormatInt(validity, 10)+"."+strconv.FormatInt(uid, 10)] = time.UnixMicro(due).In(s.location)
		return struct{}{}, err
	}, "SELECT validity, uid, due FROM mail_snooze WHERE person = $1 AND box = $2", s.person(ctx).Sub, box)
	return until, err
}
