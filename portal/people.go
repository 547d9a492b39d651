package portal

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Colleague is a person of the directory as the provider's /api/people tells.
type Colleague struct {
	ID       string   `json:"id"`
	Login    string   `json:"login"`
	Name     string   `json:"name"`
	Mail     string   `json:"mail"`
	Title    string   `json:"title"`
	Function string   `json:"function"`
	Phone    string   `json:"phone"`
	UAI      []string `json:"uai"`
}

// People searches the directory through the provider. limit bounds the answer.
// Errors are those of TokenFor; a provider without this API is ErrRefused.
func (p *Portal) People(ctx context.Context, text string, limit int) ([]Colleague, error) {
	token, err := p.accessToken(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	query := url.Values{"q": {text}, "limit": {strconv.Itoa(limit)}}
	var people []Colleague
	err = p.get(ctx, strings.TrimRight(p.Config.Issuer, "/")+"/api/people?"+query.Encode(), token, &people)
	if refusal(err) != nil {
		return nil, ErrRefused
	}
	if len(people) > limit {
		people = people[:limit]
	}
	return people, err
}
