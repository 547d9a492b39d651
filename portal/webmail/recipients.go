package webmail

import (
	"encoding/json"
	"net/http"
	"strings"

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

// recipients answers GET /mail/recipients, query q: people of the directory whose
// name, login or address begins like this. Without the directory the list is
// empty: the address is typed.
func (s *service) recipients(w http.ResponseWriter, r *http.Request) error {
	q := strings.TrimSpace(cleanLine(r.URL.Query().Get("q")))
	list := []recipient{}
	if letters := len([]rune(q)); letters >= 2 && letters <= 60 {
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
			list = append(list, recipient{Name: cleanLine(p.Name), Mail: mail, About: about, Value: address{name: cleanLine(p.Name), mail: mail}.typed()})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "private, no-store")
	return json.NewEncoder(w).Encode(list)
}
