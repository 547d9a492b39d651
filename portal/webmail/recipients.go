package webmail

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
)

// recipientsShown is how many people complete what is being typed.
const recipientsShown = 8

// recipient completes an address: Value is what the field then holds.
type recipient struct {
	Name  string `json:"name"`
	Mail  string `json:"mail"`
	About string `json:"about"` // function and school
	Value string `json:"value"`
}

// ownContacts are those of the person's own books; a group stands for all its members.
func (s *service) ownContacts(ctx context.Context, q string) (list []recipient) {
	if s.contacts == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // who types does not wait for a server of contacts
	defer cancel()
	found, err := s.contacts(ctx, q, recipientsShown)
	if err != nil {
		s.log.InfoContext(ctx, "contacts not completed", "error", err, "request", web.RequestID(ctx))
	}
	for _, c := range found {
		var typed []string
		first := ""
		for _, m := range c.Mails {
			if mail, ok := validMail(m.Mail); ok && len(typed) < maxRecipients {
				typed, first = append(typed, address{cleanLine(m.Name), mail}.typed()), cmp.Or(first, mail)
			}
		}
		one := recipient{Name: cleanLine(c.Name), Mail: first, About: cleanLine(c.About), Value: strings.Join(typed, ", ")}
		if c.Group {
			one.Mail, one.About = "", i18n.T(web.Lang(ctx), "webmail.invite.n", "n", len(typed))
		}
		if len(typed) > 0 {
			list = append(list, one)
		}
	}
	return list
}

// recipients answers GET /mail/recipients, query q: those written to before, the
// person's own contacts and groups, then people of the directory, whose name, login or address begins like this. Without
// the directory the list is shorter, and the address is typed.
func (s *service) recipients(w http.ResponseWriter, r *http.Request) error {
	q := strings.TrimSpace(cleanLine(r.URL.Query().Get("q")))
	list := []recipient{}
	if letters := len([]rune(q)); letters >= 2 && letters <= 60 {
		before, err := s.writtenTo(r.Context(), q)
		if err != nil {
			return err
		}
		for _, c := range before[:min(len(before), recipientsShown/2)] {
			list = append(list, recipient{Name: cmp.Or(c.Name, c.Mail), Mail: c.Mail, Value: address{name: c.Name, mail: c.Mail}.typed()})
		}
		for _, c := range s.ownContacts(r.Context(), q) {
			if len(list) < recipientsShown-2 && !slices.ContainsFunc(list, func(o recipient) bool {
				return strings.EqualFold(o.Value, c.Value) || o.Mail != "" && strings.EqualFold(o.Mail, c.Mail)
			}) {
				list = append(list, c)
			}
		}
		people, err := s.host.People(r.Context(), q)
		if err != nil {
			s.log.InfoContext(r.Context(), "recipients not completed", "error", err, "request", web.RequestID(r.Context()))
		}
		for _, p := range people {
			mail, ok := validMail(p.Mail)
			if !ok || len(list) >= recipientsShown {
				continue
			}
			about := cleanLine(p.Title)
			if p.School != "" {
				about = strings.TrimPrefix(about+" · "+cleanLine(p.School), " · ")
			}
			if at := slices.IndexFunc(list, func(o recipient) bool { return strings.EqualFold(o.Mail, mail) }); at >= 0 {
				list[at].About = about
				continue
			}
			list = append(list, recipient{Name: cleanLine(p.Name), Mail: mail, About: about, Value: address{name: cleanLine(p.Name), mail: mail}.typed()})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "private, no-store")
	return json.NewEncoder(w).Encode(list)
}
