package webmail

import (
	"net/http"
	"strings"

	"beffroi/internal/web"
	"beffroi/portal"
	"beffroi/templates"
)

// Who a message is really from: the receiving server's own word on the domain
// (Authentication-Results, RFC 8601, with DMARC, RFC 7489), and the directory. A
// display name proves nothing.

// senderProof is what the receiving server found out about the domain of From.
type senderProof int

const (
	notSaid   senderProof = iota // nobody whom we trust has said
	proved                       // it is from there
	notProved                    // it fails
)

// mostResult is how many fields are looked at.
const mostResult = 20

// proofOf reads the fields of our own receiving server: others, which a stranger
// may have written, count for nothing. The topmost is the last that was added.
func proofOf(h header, authserv, mail string) senderProof {
	if authserv == "" {
		return notSaid
	}
	seen := 0
	for _, f := range h {
		if f.key != "authentication-results" {
			continue
		}
		if seen++; seen > mostResult {
			break
		}
		id, rest, _ := strings.Cut(withoutComments(f.value), ";")
		name, _, _ := strings.Cut(strings.TrimSpace(id), " ")
		if !strings.EqualFold(name, authserv) {
			continue
		}
		return resultOf(rest, strings.ToLower(mail))
	}
	return notSaid
}

// resultOf looks for the result of DMARC on the domain of an address, or of the
// sign-in with that address at our own submission server.
func resultOf(results, mail string) senderProof {
	domain := mail[strings.LastIndexByte(mail, '@')+1:]
	for _, one := range strings.Split(results, ";") {
		words := strings.Fields(one)
		if len(words) == 0 {
			continue
		}
		method, result, _ := strings.Cut(strings.ToLower(words[0]), "=")
		from, auth := "", ""
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(strings.ToLower(w), "=")
			value = strings.Trim(value, `"`)
			switch key {
			case "header.from":
				from = value[strings.LastIndexByte(value, '@')+1:]
			case "smtp.auth":
				auth = value
			}
		}
		switch {
		case method == "dmarc" && result == "pass" && from == domain, method == "auth" && result == "pass" && auth == mail:
			return proved
		case method == "dmarc" && (result == "fail" || result == "pass"):
			return notProved
		}
	}
	return notSaid
}

// withoutComments leaves out what stands in parentheses (RFC 5322 §3.2.2).
func withoutComments(s string) string {
	var out strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			if depth == 0 {
				out.WriteByte(s[i+1])
			}
			i++
		case c == '(':
			depth++
		case c == ')':
			depth = max(0, depth-1)
			out.WriteByte(' ')
		case depth == 0:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// showSender answers GET /mail/{box}/{ref}/sender: what can be said about who wrote
// a message, as a part of its page that the message does not wait for.
func (s *service) showSender(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	var h header
	err = s.with(ctx, func(who owner) error {
		m, err := s.openMessage(ctx, who, at)
		if err == nil {
			h = m.header
		}
		return err
	})
	if err != nil {
		return err
	}
	view := &templates.WebmailSender{}
	from := parseAddresses(h.get("from"), 2)
	if len(from) != 1 || from[0].mail == "" || h.count("from") != 1 {
		return web.Render(w, r, http.StatusOK, view)
	}
	mail, ok := validMail(from[0].mail)
	if !ok {
		return web.Render(w, r, http.StatusOK, view)
	}
	name := cleanLine(from[0].name)
	proof := proofOf(h, s.config.AuthservID, mail)
	people, err := s.host.People(ctx, mail)
	if err != nil {
		s.log.InfoContext(ctx, "sender not looked for in the directory", "error", err, "request", web.RequestID(ctx))
		return web.Render(w, r, http.StatusOK, view)
	}
	colleague := withMail(people, mail)
	switch {
	case colleague != nil && proof == proved:
		view.State, view.Name, view.About = "colleague", cleanLine(colleague.Name), strings.TrimSuffix(cleanLine(colleague.Title)+" · "+cleanLine(colleague.School), " · ")
	case colleague != nil && proof == notProved:
		view.State, view.Name = "doubtful", cleanLine(colleague.Name)
	case colleague == nil && domainImitated(mail, s.ownDomains(ctx)) != "":
		view.State, view.Name, view.Mail = "domain", domainImitated(mail, s.ownDomains(ctx)), mail
	case strings.Contains(name, "@") && !strings.Contains(strings.ToLower(name), strings.ToLower(mail)):
		view.State, view.Name, view.Mail = "address", name, mail
	case colleague == nil && name != "":
		if view.Name, err = s.imitated(r, name, mail); err != nil {
			s.log.InfoContext(ctx, "sender not looked for in the directory", "error", err, "request", web.RequestID(ctx))
		}
		if view.Name != "" {
			view.State, view.Mail = "imitates", mail
		}
	}
	return web.Render(w, r, http.StatusOK, view)
}

func withMail(people []portal.Colleague, mail string) *portal.Colleague {
	for i := range people {
		if strings.EqualFold(people[i].Mail, mail) {
			return &people[i]
		}
	}
	return nil
}

// imitated is the name of a colleague that a stranger bears, "" for none.
func (s *service) imitated(r *http.Request, name, mail string) (string, error) {
	words := strings.Fields(fold(strings.NewReplacer(",", " ", "-", " ").Replace(name)))
	if len(words) < 2 || len(words) > 6 {
		return "", nil
	}
	people, err := s.host.People(r.Context(), words[len(words)-1])
	if err != nil {
		return "", err
	}
	for _, p := range people {
		known := strings.Fields(fold(strings.NewReplacer(",", " ", "-", " ").Replace(p.Name)))
		if len(known) == len(words) && sameWords(known, words) && !strings.EqualFold(p.Mail, mail) {
			return cleanLine(p.Name), nil
		}
	}
	return "", nil
}

// sameWords compares names in whatever order they are written.
func sameWords(a, b []string) bool {
	left := map[string]int{}
	for _, w := range a {
		left[w]++
	}
	for _, w := range b {
		if left[w]--; left[w] < 0 {
			return false
		}
	}
	return true
}
