package portal

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Colleague is a person of the directory as the provider's /api/people tells.
type Colleague struct {
	ID     string `json:"id"`
	Login  string `json:"login"`
	Name   string `json:"name"`
	Mail   string `json:"mail"`
	Phone  string `json:"phone"`
	Title  string `json:"title"`
	School string `json:"school"` // UAI code, may be empty
}

// Contact is somebody in a person's own address books, or a group of them.
type Contact struct {
	Name, About string
	Group       bool
	Mails       []Mailbox // of a person, the first address
}

// Mailbox is an address with the name before it, which may be empty.
type Mailbox struct{ Name, Mail string }

// People searches the directory through the provider; text has at least two
// letters. At most 50 are answered.
// Errors are those of TokenFor; a provider without this API is ErrRefused.
func (p *Portal) People(ctx context.Context, text string) ([]Colleague, error) {
	token, err := p.accessToken(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	var people []Colleague
	err = p.get(ctx, strings.TrimRight(p.Config.Issuer, "/")+"/api/people?"+url.Values{"q": {text}}.Encode(), token, &people)
	if r := refusal(err); r != nil {
		return nil, fmt.Errorf("search the directory: %w: %w", ErrRefused, r)
	}
	return people, err
}
