package webmail

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/db"
	"beffroi/internal/web"
	"beffroi/templates"
)

// Reminders: a message to which no answer came within some days comes back to the
// inbox, as a copy of what was sent, with a mark of its own.

// noAnswer marks such a copy.
const noAnswer = imap.Flag("$NoAnswer")

// reminderDays are the choices.
var reminderDays = []int{2, 4, 7, 14}

const mostReminded = 60 // mailboxes where an answer is looked for

// reminder is what is sealed of one.
type reminder struct {
	MessageID string   `json:"message_id"`
	Subject   string   `json:"subject"`
	To        []string `json:"to"`
	Filed     string   `json:"filed,omitempty"` // mailbox of a function that has the copy
}

func reminderAAD(sub, id string) string { return "mail_reminder:" + sub + ":" + id }

// daysOf reads the choice of a form or a draft; 0 is no reminder.
func daysOf(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || !slices.Contains(reminderDays, n) {
		return 0
	}
	return n
}

// remind writes down that the writer wants to hear; twice is once.
func (s *service) remind(ctx context.Context, sub, id string, e envelope) error {
	if e.Remind == 0 {
		return nil
	}
	about, err := json.Marshal(reminder{MessageID: e.MessageID, Subject: e.Subject, To: e.To, Filed: e.Filed})
	if err != nil {
		return err
	}
	now := s.now()
	_, err = s.db.Exec(ctx, "INSERT INTO mail_reminder (person, id, about, sent, due, lease) VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (person, id) DO NOTHING",
		sub, id, s.sealer.Seal(reminderAAD(sub, id), string(about)), now.UnixMicro(), now.Add(time.Duration(e.Remind)*24*time.Hour).UnixMicro())
	if err != nil {
		return fmt.Errorf("remind: %w", err)
	}
	return nil
}

// keptReminder is a row.
type keptReminder struct {
	id        string
	about     reminder
	sent, due time.Time
}

func (s *service) scanReminder(sub string) func(scan func(...any) error) (keptReminder, error) {
	return func(scan func(...any) error) (k keptReminder, err error) {
		var sealed string
		var sent, due int64
		if err := scan(&k.id, &sealed, &sent, &due); err != nil {
			return k, err
		}
		k.sent, k.due = time.UnixMicro(sent), time.UnixMicro(due)
		plain, err := s.sealer.Open(reminderAAD(sub, k.id), sealed)
		if err != nil {
			return k, err
		}
		return k, json.Unmarshal([]byte(plain), &k.about)
	}
}

// remindMine looks at what is due of the person who looks.
func (s *service) remindMine(ctx context.Context, who owner) error {
	if any, err := s.anyDue(ctx, "SELECT COUNT(*) FROM mail_reminder WHERE person = $1 AND due <= $2 AND lease < $2", who.sub); err != nil || !any {
		return err
	}
	now := s.now().UnixMicro()
	due, err := db.All(ctx, s.db, s.scanReminder(who.sub), "UPDATE mail_reminder SET lease = $1 WHERE person = $2 AND due <= $3 AND lease < $3 RETURNING id, about, sent, due",
		s.now().Add(snoozeLease).UnixMicro(), who.sub, now)
	if err != nil {
		return fmt.Errorf("reminders: %w", err)
	}
	for _, k := range due {
		err := s.bringBack(ctx, who, k)
		if err != nil && !errors.Is(err, errGone) { // it waits on, and is tried again
			s.log.InfoContext(ctx, "reminder not carried out yet", "error", err)
			continue
		}
		if err := s.dropReminder(ctx, who.sub, k.id); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) dropReminder(ctx context.Context, sub, id string) error {
	_, err := s.db.Exec(ctx, "DELETE FROM mail_reminder WHERE person = $1 AND id = $2", sub, id)
	return err
}

// bringBack copies a message that has no answer to the inbox. What is no more in the
// mailbox of sent messages was done with.
func (s *service) bringBack(ctx context.Context, who owner, k keptReminder) error {
	answered, err := s.answered(ctx, who, k)
	if err != nil || answered {
		return err
	}
	if there, err := s.holds(ctx, who, "INBOX", k.about.MessageID); err != nil || there { // a copy made before a crash, or a message to oneself
		return errors.Join(err, s.markNoAnswer(ctx, who, k.about.MessageID))
	}
	sent, err := s.ensureRole(ctx, who, roleSent)
	if err != nil {
		return err
	}
	at, err := s.newest(ctx, who, cmp.Or(k.about.Filed, sent), k.about.MessageID)
	if errors.Is(err, errGone) && k.about.Filed != "" { // it took no copy: the writer's own has it
		at, err = s.newest(ctx, who, sent, k.about.MessageID)
	}
	if err != nil {
		return err
	}
	err = s.pools.Do(ctx, who, at.box, writes, func(c *conn) error {
		if err := c.openAt(at.box, at.validity, false); err != nil {
			return err
		}
		_, err := c.Copy(imap.UIDSetNum(at.uid), "INBOX").Wait()
		return err
	})
	if err != nil {
		return err
	}
	s.badges.forget(who.sub)
	return s.markNoAnswer(ctx, who, k.about.MessageID)
}

func (s *service) markNoAnswer(ctx context.Context, who owner, messageID string) error {
	at, err := s.newest(ctx, who, "INBOX", messageID)
	if err != nil {
		return err
	}
	if err := s.setFlags(ctx, who, []ref{at}, imap.StoreFlagsAdd, noAnswer); err != nil && !errors.Is(err, errReadOnly) {
		return err
	}
	return s.setFlags(ctx, who, []ref{at}, imap.StoreFlagsDel, imap.FlagSeen)
}

// answered looks for an answer wherever one may lie. What a program answers by itself
// (RFC 3834) is none.
func (s *service) answered(ctx context.Context, who owner, k keptReminder) (found bool, err error) {
	header := func(key, value string) imap.SearchCriteria {
		return imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: key, Value: value}}}
	}
	criteria := imap.SearchCriteria{Since: k.sent.AddDate(0, 0, -1), Or: [][2]imap.SearchCriteria{{header("In-Reply-To", k.about.MessageID), header("References", k.about.MessageID)}}, Not: []imap.SearchCriteria{header("Auto-Submitted", "auto-")}}
	err = s.pools.Do(ctx, who, "", reads, func(c *conn) error {
		found = false
		all, err := mailboxes(c)
		if err != nil {
			return err
		}
		looked := 0
		for _, m := range all {
			if !m.openable || m.shared && k.about.Filed == "" || m.counted && m.messages == 0 || slices.Contains([]string{roleDrafts, roleSent, roleJunk}, m.role) {
				continue
			}
			if looked++; looked > mostReminded {
				break
			}
			if _, err := c.open(m.name, true); errors.Is(err, errGone) {
				continue
			} else if err != nil {
				return err
			}
			data, err := c.UIDSearch(&criteria, nil).Wait()
			if err != nil {
				return err
			}
			if len(data.AllUIDs()) > 0 {
				found = true
				return nil
			}
		}
		return nil
	})
	return found, err
}

// reminderViews are those that wait, as a page shows them.
func (s *service) reminderViews(ctx context.Context) (list []templates.MailLater, err error) {
	sub := s.person(ctx).Sub
	all, err := db.All(ctx, s.db, s.scanReminder(sub), "SELECT id, about, sent, due FROM mail_reminder WHERE person = $1 ORDER BY due, id LIMIT 200", sub)
	for _, k := range all {
		list = append(list, templates.MailLater{ID: k.id, Subject: k.about.Subject, To: shorten(strings.Join(k.about.To, ", "), 200), At: k.due.In(s.location)})
	}
	return list, err
}

// postReminders answers POST /mail/reminders, field id: no reminder any more.
func (s *service) postReminders(w http.ResponseWriter, r *http.Request) error {
	if err := s.dropReminder(r.Context(), s.person(r.Context()).Sub, web.Field(r, "id")); err != nil {
		return err
	}
	return web.Redirect(w, r, "/mail/scheduled")
}

// remindAll looks at what is due of everybody who has a session.
func (s *service) remindAll(ctx context.Context) error {
	return s.forThoseDue(ctx, "SELECT DISTINCT person FROM mail_reminder WHERE due <= $1 AND lease < $1", s.remindMine)
}
