package signin

import (
	"context"
	"errors"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/i18n"
	"beffroi/internal/mailer"
	"beffroi/mfa"
)

// People are told of every change to what protects them, at their address in the
// directory and at the one outside where codes went before the change, with a
// link that locks the account: whoever changed it in their place, and reads
// their mail here, cannot keep them from hearing of it.

// Teller queues a message in the caller's transaction.
type Teller interface {
	Queue(ctx context.Context, m mailer.Message) error
}

// tellWait bounds the look into the directory: a message is not worth holding a
// transaction. Without an answer the address is found when the message leaves.
const tellWait = 500 * time.Millisecond

// changeKeys are the sentences for what changed, by what and kind; then by what.
var changeKeys = map[string]string{
	"added passkey": "mail.added.passkey", "added totp": "mail.added.totp", "added key": "mail.added.key", "added recovery": "mail.added.recovery", "added pass": "mail.added.pass", "added device": "mail.added.device", "added mail": "mail.added.mail",
	"removed passkey": "mail.removed.passkey", "removed totp": "mail.removed.totp", "removed key": "mail.removed.key", "removed recovery": "mail.removed.recovery", "removed pass": "mail.removed.pass", "removed device": "mail.removed.device", "removed mail": "mail.removed.mail",
	"used recovery": "mail.used.recovery", "used pass": "mail.used.pass",
	"reset": "mail.reset", mfa.Stolen: "mail.stolen",
}

// tellChange is the hook of mfa: it never keeps a change from being made but by
// an error of the database, which undoes both.
func (s *Service) tellChange(ctx context.Context, c mfa.Change) error {
	key := changeKeys[c.What+" "+string(c.Factor.Kind)]
	if key == "" {
		key = changeKeys[c.What]
	}
	if key == "" {
		return nil // a new name is no news
	}
	return s.tell(ctx, c.Actor, c.Person, c.What+" "+string(c.Factor.Kind)+" "+c.Factor.ID, key, c.Mail)
}

// tell writes to a person what happened. With the sentence go when, by whom and
// from where it was done, and the link that locks. outside is a second address,
// empty for none.
func (s *Service) tell(ctx context.Context, actor audit.Actor, id, topic, key, outside string) error {
	if s.teller == nil {
		return nil
	}
	look, cancel := context.WithTimeout(ctx, tellWait)
	defer cancel()
	person, err := s.directory.ByID(look, id)
	if errors.Is(err, directory.ErrUnknown) {
		return nil // nobody to tell
	}
	l := LanguageOf(person)
	link, err := s.LockLink(ctx, id)
	if err != nil {
		return err
	}
	what := i18n.T(l, key)
	by := ""
	if actor.Kind != "system" && actor.Kind != "anonymous" && actor.ID != id {
		name := actor.Name
		if helper, err := s.directory.ByID(look, actor.ID); err == nil {
			name = displayName(helper)
		}
		by = i18n.T(l, "mail.by", "name", name)
	} else if actor.ID == id {
		by = i18n.T(l, "mail.self")
	}
	where := ""
	if o := audit.OriginOf(ctx); o.IP.IsValid() && actor.ID == id {
		browser, system := AgentName(o.UserAgent)
		where = strings.TrimSpace(strings.TrimSpace(browser+" "+system) + " · " + s.place(addressText(o.IP)))
	}
	lines := []string{i18n.T(l, "mail.hello", "name", displayName(person)), ""}
	lines = append(lines, what, i18n.Date(l, s.Local(s.now()), "datetime")+by)
	if where != "" {
		lines = append(lines, where)
	}
	lines = append(lines, "", i18n.T(l, "mail.me"), i18n.T(l, "mail.notme"), link, "", i18n.T(l, "mail.more"), s.address+"/account", "", i18n.T(l, "mail.noreply"))
	m := mailer.Message{Person: id, To: person.Mail, Name: person.DisplayName, Topic: topic, Subject: i18n.T(l, "mail.subject", "what", what), Body: strings.Join(lines, "\n") + "\n", Lang: string(l)}
	if err := s.teller.Queue(ctx, m); err != nil || outside == "" {
		return err
	}
	m.To, m.Topic = outside, topic+" outside"
	return s.teller.Queue(ctx, m)
}

// tellLock is tell for what is not about a factor.
func (s *Service) tellLock(ctx context.Context, actor audit.Actor, id, topic, key string) error {
	outside, err := s.mfa.MailAddress(ctx, id)
	if err != nil {
		return err
	}
	return s.tell(ctx, actor, id, topic, key, outside)
}
