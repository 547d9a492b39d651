package webmail

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"beffroi/internal/db"
	"beffroi/internal/web"
	"beffroi/portal"
	"beffroi/templates"
)

// Whom a message comes from. Everybody writes as themselves, under as many
// headings as they like; as a function (the head of a school) whose group they are
// in; and in the name of a colleague who said so, which the message then tells
// (Sender, RFC 5322 §3.6.2). What somebody may is looked at again when the message
// leaves.

const (
	kindIdentity  = "identity"
	mostDelegates = 50
)

// identity is one way to sign a message.
type identity struct {
	key       string // in forms; "" is oneself
	from      address
	replyTo   string // "" for none
	signature string // the name of a kept text, "" for the usual one
	sender    bool   // in somebody's name: one's own address stands in Sender
	sent      string // mailbox that gets a copy of what is sent, beside or instead of one's own
}

// ownIdentity is what is kept of one: the address is always one's own.
type ownIdentity struct {
	Label     string `json:"label"` // after the name, in brackets
	ReplyTo   string `json:"reply_to,omitempty"`
	Signature string `json:"signature,omitempty"`
}

// delegation is what is sealed of one.
type delegation struct {
	Owner, OwnerMail       string
	Delegate, DelegateMail string
}

func delegationAAD(owner, delegate string) string { return "mail_delegate:" + owner + ":" + delegate }

// identities are those of the person signed in, themselves first.
func (s *service) identities(ctx context.Context) ([]identity, error) {
	person := s.person(ctx)
	self := identity{from: address{person.Name, person.Mail}}
	if mail, ok := validMail(person.Mail); ok {
		self.from.mail = mail
	}
	list := []identity{self}
	kept, err := items[ownIdentity](ctx, s, person.Sub, kindIdentity)
	if err != nil {
		return nil, err
	}
	for _, one := range kept {
		list = append(list, identity{key: one.id, from: address{one.value.named(person.Name), self.from.mail}, replyTo: one.value.ReplyTo, signature: one.value.Signature})
	}
	for _, f := range portal.FunctionsOf(s.config.Functions, person.Groups) {
		if mail, ok := validMail(f.Address); ok {
			list = append(list, identity{key: "f:" + mail, from: address{f.Name, mail}, sent: f.Sent})
		}
	}
	given, err := s.delegations(ctx, "delegate", person.Sub)
	if err != nil {
		return nil, err
	}
	for _, d := range given {
		if mail, ok := validMail(d.about.OwnerMail); ok {
			list = append(list, identity{key: "d:" + d.owner, from: address{d.about.Owner, mail}, sender: true})
		}
	}
	return list, nil
}

// named is a name with what distinguishes this identity.
func (o ownIdentity) named(name string) string {
	if o.Label == "" {
		return name
	}
	return strings.TrimSpace(name + " (" + o.Label + ")")
}

// errNotYours is an identity that the person has no more.
var errNotYours = errors.New("webmail: this identity is not the person's")

// identityOf is the identity of a key; the error wraps errNotYours when there is none.
func (s *service) identityOf(ctx context.Context, key string) (identity, error) {
	list, err := s.identities(ctx)
	if err != nil {
		return identity{}, err
	}
	at := slices.IndexFunc(list, func(i identity) bool { return i.key == key })
	if at < 0 {
		return list[0], fmt.Errorf("%w: %q", errNotYours, key)
	}
	return list[at], nil
}

// mayWriteAs is asked when a message leaves: groups change, delegations end, and the
// colleague must still be in the directory.
func (s *service) mayWriteAs(ctx context.Context, key string) error {
	one, err := s.identityOf(ctx, key)
	if err != nil || !one.sender {
		return err
	}
	people, err := s.host.People(ctx, one.from.mail)
	if err != nil {
		return err
	}
	if withMail(people, one.from.mail) == nil {
		return fmt.Errorf("%w: %s is not in the directory", errNotYours, one.from.mail)
	}
	return nil
}

// given is one row.
type given struct {
	owner, delegate string
	about           delegation
}

// delegations are those where a column ("owner", "delegate") is somebody.
func (s *service) delegations(ctx context.Context, column, sub string) ([]given, error) {
	query := "SELECT owner, delegate, about FROM mail_delegate WHERE owner = $1 ORDER BY created, delegate"
	if column == "delegate" {
		query = "SELECT owner, delegate, about FROM mail_delegate WHERE delegate = $1 ORDER BY created, owner"
	}
	return db.All(ctx, s.db, func(scan func(...any) error) (g given, err error) {
		var sealed string
		if err := scan(&g.owner, &g.delegate, &sealed); err != nil {
			return g, err
		}
		plain, err := s.sealer.Open(delegationAAD(g.owner, g.delegate), sealed)
		if err != nil {
			return g, err
		}
		return g, json.Unmarshal([]byte(plain), &g.about)
	}, query, sub)
}

// delegate lets a colleague write in the name of the person signed in. The error is
// errManyItems when there are too many.
func (s *service) delegate(ctx context.Context, to portal.Colleague) error {
	person := s.person(ctx)
	about, err := json.Marshal(delegation{Owner: person.Name, OwnerMail: person.Mail, Delegate: to.Name, DelegateMail: to.Mail})
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		var n int
		if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM mail_delegate WHERE owner = $1 AND delegate <> $2", person.Sub, to.ID).Scan(&n); err != nil {
			return err
		}
		if n >= mostDelegates {
			return errManyItems
		}
		_, err := s.db.Exec(ctx, "INSERT INTO mail_delegate (owner, delegate, about, created) VALUES ($1, $2, $3, $4) ON CONFLICT (owner, delegate) DO UPDATE SET about = excluded.about",
			person.Sub, to.ID, s.sealer.Seal(delegationAAD(person.Sub, to.ID), string(about)), db.At(s.now()))
		if err != nil {
			return err
		}
		return s.host.Record(ctx, "mail.delegate", to.ID, nil)
	})
}

// identityFor chooses who answers a message: whoever of the person it was sent to,
// themselves when that is not clear.
func identityFor(list []identity, h header) string {
	to := map[string]bool{}
	for _, key := range []string{"to", "cc", "delivered-to", "x-original-to"} {
		for _, a := range parseAddresses(h.get(key), 200) {
			to[fold(a.mail)] = a.mail != ""
		}
	}
	for _, one := range list {
		if to[fold(one.from.mail)] {
			return one.key
		}
	}
	return ""
}

// identityWith is the identity with the address of a field.
func identityWith(list []identity, value string) string {
	for _, a := range parseAddresses(value, 2) {
		for _, one := range list {
			if a.mail != "" && strings.EqualFold(one.from.mail, a.mail) {
				return one.key
			}
		}
	}
	return ""
}

// senderViews are the identities as the page to write on offers them.
func senderViews(list []identity, chosen string) (views []templates.MailChoice) {
	if len(list) < 2 {
		return nil
	}
	for _, one := range list {
		label := cmp.Or(one.from.name, one.from.mail)
		if one.from.name != "" {
			label += " <" + one.from.mail + ">"
		}
		views = append(views, templates.MailChoice{Value: one.key, Label: label, On: one.key == chosen})
	}
	return views
}

// colleagueOf finds the person that was typed: an address, a login, or what completed
// it. It is nil when the directory knows none, or several.
func (s *service) colleagueOf(ctx context.Context, typed string) (*portal.Colleague, error) {
	typed = strings.Trim(strings.TrimSpace(cleanLine(typed)), ",")
	if list, err := parseRecipients(typed); err == nil && len(list) == 1 {
		typed = list[0].mail
	}
	if len([]rune(typed)) < 2 {
		return nil, nil
	}
	people, err := s.host.People(ctx, typed)
	if err != nil {
		return nil, err
	}
	var found *portal.Colleague
	for i, p := range people {
		if p.Login != "" && (strings.EqualFold(p.Mail, typed) || strings.EqualFold(p.Login, typed)) {
			if found != nil && !strings.EqualFold(found.Login, p.Login) {
				return nil, nil
			}
			found = &people[i]
		}
	}
	return found, nil
}

// signed is the name that a message bears for a person of the request, for pages.
func (s *service) signed(ctx context.Context, key string) templates.MailAddress {
	one, err := s.identityOf(ctx, key)
	if err != nil {
		s.log.InfoContext(ctx, "identity not found", "error", err, "request", web.RequestID(ctx))
	}
	return templates.MailAddress{Name: one.from.name, Mail: one.from.mail}
}
