package webmail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/portal"
	"beffroi/portal/dav"
	"beffroi/templates"
)

// Invitations (iMIP, RFC 6047) are shown above the message that carries them. An
// answer goes to whoever invites, and the event to the person's calendar, where there
// is one. What was answered is kept as a keyword of the message.

const maxInvitation = 512 << 10

// answers are what can be said, with the keyword that keeps it.
var answers = map[string]imap.Flag{"ACCEPTED": "$CalendarAccepted", "TENTATIVE": "$CalendarTentative", "DECLINED": "$CalendarDeclined"}

// invitationPart is the part of a message that holds one.
func invitationPart(p *part) *part {
	if p.mediaType == "text/calendar" || p.mediaType == "application/ics" || !p.multipart() && strings.HasSuffix(strings.ToLower(p.filename), ".ics") {
		return p
	}
	for _, child := range p.children {
		if found := invitationPart(child); found != nil {
			return found
		}
	}
	return nil
}

// invitation is what a message says about an event, nil when it says nothing that can
// be read.
func (s *service) invitation(ctx context.Context, who owner, m *message) (*dav.Invitation, error) {
	p := invitationPart(m.root)
	if p == nil || p.size > maxInvitation {
		return nil, nil
	}
	text, cut, err := s.textContent(ctx, who, m, p, maxInvitation)
	if err != nil || cut {
		return nil, err
	}
	i, err := dav.ParseInvitation(text, p.params["method"], s.location)
	if err != nil {
		s.log.InfoContext(ctx, "invitation not shown", "error", err)
		return nil, nil
	}
	return i, nil
}

// invitationView is the card above the message.
func (s *service) invitationView(ctx context.Context, who owner, m *message) (*templates.MailInvitation, error) {
	i, err := s.invitation(ctx, who, m)
	if err != nil || i == nil {
		return nil, err
	}
	v := &templates.MailInvitation{Method: i.Method, Title: cleanLine(i.Summary), Place: shorten(cleanLine(i.Location), 300), Start: i.Start, End: i.End, AllDay: i.AllDay, Repeats: i.Repeats, One: i.One,
		Organizer: templates.MailAddress{Name: cleanLine(i.Organizer.Name), Mail: i.Organizer.Mail}, Do: m.path() + "/invitation", Agenda: s.host.HasCalendars()}
	if i.AllDay {
		v.End = i.End.AddDate(0, 0, -1)
	}
	if i.Status == "CANCELLED" {
		v.Method = "CANCEL"
	}
	for _, a := range i.Attendees {
		name := cleanLine(a.Name)
		if name == "" {
			name = cleanLine(a.Mail)
		}
		if name == "" || len(v.Attendees) >= 50 {
			continue
		}
		v.Attendees = append(v.Attendees, templates.MailAttendee{Name: name, Status: a.Status})
	}
	for status, flag := range answers {
		if m.has(flag) {
			v.Answer = status
		}
	}
	mail, _ := s.invited(ctx, i)
	_, organizer := validMail(i.Organizer.Mail)
	v.CanAnswer = v.Method == "REQUEST" && mail != "" && organizer && !m.has(imap.FlagDraft)
	return v, nil
}

// invited is under which address somebody is invited: one of theirs that is named,
// their own when none is (a list was).
func (s *service) invited(ctx context.Context, i *dav.Invitation) (mail, name string) {
	person := s.person(ctx)
	own, ok := validMail(person.Mail)
	if !ok || strings.EqualFold(i.Organizer.Mail, own) {
		return "", ""
	}
	all, err := s.identities(ctx)
	if err != nil {
		return own, person.Name
	}
	for _, one := range all {
		if i.StatusOf(one.from.mail) != "" && !one.sender {
			return one.from.mail, one.from.name
		}
	}
	return own, person.Name
}

// postInvitation answers POST /mail/{box}/{ref}/invitation, field do: ACCEPTED,
// TENTATIVE, DECLINED, or remove for an event that was called off.
func (s *service) postInvitation(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	do := web.Field(r, "do")
	if _, ok := answers[do]; !ok && do != "remove" {
		return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("unknown answer"))
	}
	agenda := ""
	err = s.with(ctx, func(who owner) error {
		m, err := s.openMessage(ctx, who, at)
		if err != nil {
			return err
		}
		i, err := s.invitation(ctx, who, m)
		if err != nil {
			return err
		}
		if i == nil {
			return fmt.Errorf("%w: no invitation", errGone)
		}
		mail, name := s.invited(ctx, i)
		if do != "remove" {
			organizer, ok := validMail(i.Organizer.Mail)
			if i.Method != "REQUEST" || mail == "" || !ok {
				return web.Fail(http.StatusConflict, "webmail.invite.never", errors.New("not an invitation to answer"))
			}
			raw, e := s.answer(web.Lang(ctx), newCompositionID(), address{name, mail}, organizer, i, do)
			if _, err := s.enqueue(ctx, who.sub, strings.Trim(strings.SplitN(e.MessageID, "@", 2)[0], "<"), e, raw, 0); err != nil {
				return err
			}
			s.resume(ctx, who.sub, strings.Trim(strings.SplitN(e.MessageID, "@", 2)[0], "<"), 0)
			for status, flag := range answers {
				op := imap.StoreFlagsDel
				if status == do {
					op = imap.StoreFlagsAdd
				}
				if status != do && !m.has(flag) {
					continue
				}
				if err := s.setFlags(ctx, who, []ref{at}, op, flag); err != nil && !keepsConnection(err) {
					return err
				}
			}
		} else {
			i.Method = "CANCEL"
		}
		agenda = s.keepEvent(ctx, i, mail, do)
		return nil
	})
	if err != nil {
		return err
	}
	return web.Redirect(w, r, at.path()+"?answered="+strings.ToLower(do)+"&agenda="+agenda)
}

// keepEvent carries the event into the calendar; how that went is a word for the page:
// the answer itself has left already.
func (s *service) keepEvent(ctx context.Context, i *dav.Invitation, mail, status string) string {
	if !s.host.HasCalendars() {
		return "none"
	}
	client := s.host.Calendars(ctx)
	err := client.Keep(ctx, i, mail, status)
	if errors.Is(err, dav.ErrNotFound) {
		if err = client.CreateCalendar(ctx, "agenda", i18n.T(web.Lang(ctx), "agenda.title"), ""); err == nil {
			err = client.Keep(ctx, i, mail, status)
		}
	}
	if err != nil {
		s.log.WarnContext(ctx, "event not carried into the calendar", "error", err, "request", web.RequestID(ctx))
		return "failed"
	}
	return "kept"
}

// answer is the message that tells an answer (RFC 6047 §2.4).
func (s *service) answer(l i18n.Lang, id string, from address, to string, i *dav.Invitation, status string) ([]byte, envelope) {
	o := &outgoing{id: id, from: from}
	key := "webmail.invite.subject." + strings.ToLower(status)
	subject := i18n.T(l, key, "title", cleanLine(i.Summary))
	boundary := "beffroi-i-" + id
	var b bytes.Buffer
	now := s.now()
	fmt.Fprintf(&b, "Date: %s\r\nFrom: %s\r\nTo: <%s>\r\nSubject: %s\r\nMessage-ID: %s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary=\"%s\"\r\n\r\n--%s\r\n",
		now.In(s.location).Format("Mon, 02 Jan 2006 15:04:05 -0700"), wireAddresses([]address{from}), to, wireText(subject), o.messageID(), boundary, boundary)
	writeText(&b, "plain", i18n.T(l, "webmail.invite.text."+strings.ToLower(status), "name", from.shown(), "title", cleanLine(i.Summary), "date", eventTime(l, i.Start, i.AllDay))+"\n")
	fmt.Fprintf(&b, "\r\n--%s\r\n", boundary)
	var part bytes.Buffer
	writeText(&part, "calendar", i.Reply(from.mail, from.name, status, now))
	b.WriteString(strings.Replace(part.String(), "text/calendar; charset=utf-8", "text/calendar; charset=utf-8; method=REPLY", 1))
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	return b.Bytes(), envelope{From: from.mail, To: []string{to}, Subject: subject, MessageID: o.messageID(), Quiet: true}
}

func eventTime(l i18n.Lang, at time.Time, allDay bool) string {
	if allDay {
		return i18n.Date(l, at, "day")
	}
	return i18n.Date(l, at, "datetime")
}

// calendars is what the webmail needs of the portal's agenda.
type calendars interface {
	HasCalendars() bool
	Calendars(ctx context.Context) *dav.Client
}

var _ calendars = (*portal.Portal)(nil)
