package visitor

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// Person is somebody at a keyboard, with their telephone once they have enrolled.
type Person struct {
	Login, Password string

	mu    sync.Mutex
	Phone *Authenticator
}

// SignIn fills whatever the provider asks, from the page it shows up to an address that begins with stop: name and password,
// enrolment of a second factor, its code. It returns the redirect to stop, or the first page that it cannot fill: a refusal.
func (v *Visitor) SignIn(ctx context.Context, p *Page, who *Person, stop string) (*Page, error) {
	asked := map[string]int{}
	for {
		if to := p.Location(); to != "" {
			return p, nil // reached stop
		}
		var form *Form
		changes := map[string]string{}
		if f, err := p.Form("password"); err == nil {
			form, changes["username"], changes["password"] = f, who.Login, who.Password
			asked["password"]++
		} else if f, err := p.Form("code"); err == nil {
			code, err := who.Code(p.TOTPSecret())
			if err != nil {
				return p, err
			}
			form, changes["code"] = f, code
			asked["code"]++
		} else {
			return p, nil
		}
		if asked["password"] > 1 || asked["code"] > 1 {
			return p, fmt.Errorf("%s is asked again: %s", who.Login, p)
		}
		var err error
		if p, err = v.Submit(ctx, form, changes, stop); err != nil {
			return nil, err
		}
	}
}

// Code is the next code of the person's telephone, which takes the secret that an enrolment page shows.
func (who *Person) Code(secret string) (string, error) {
	who.mu.Lock()
	defer who.mu.Unlock()
	if secret != "" {
		phone, err := NewAuthenticator(secret)
		if err != nil {
			return "", err
		}
		who.Phone = phone
	}
	if who.Phone == nil {
		return "", fmt.Errorf("%s is asked for a code and has no telephone", who.Login)
	}
	return who.Phone.Code(), nil
}

// Enter signs a person in at an application with this browser: from the application's request to verified tokens. When the
// provider refuses, tokens are nil and the page tells.
func (v *Visitor) Enter(ctx context.Context, a *Application, who *Person, scope string) (*Tokens, *Claims, *Page, error) {
	attempt, err := a.Begin(ctx, scope, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	p, err := v.Open(ctx, attempt.URL, a.RedirectURI)
	if err != nil {
		return nil, nil, nil, err
	}
	if p, err = v.SignIn(ctx, p, who, a.RedirectURI); err != nil || p.Location() == "" {
		return nil, nil, p, err
	}
	code, err := attempt.Code(p.Location())
	if err != nil {
		return nil, nil, p, err
	}
	tokens, err := a.Redeem(ctx, code, attempt.Verifier)
	if err != nil {
		return nil, nil, p, err
	}
	if tokens.Error != "" || tokens.Status != 200 {
		return tokens, nil, p, fmt.Errorf("the code is refused: %d %s %s", tokens.Status, tokens.Error, tokens.ErrorDescription)
	}
	claims, err := a.Verify(ctx, tokens.IDToken, attempt.Nonce)
	return tokens, claims, p, err
}

// Says tells whether the page shows one of the words, whatever its case.
func (p *Page) Says(words ...string) bool {
	text := strings.ToLower(strings.Join(strings.Fields(p.Text()), " "))
	for _, w := range words {
		if strings.Contains(text, strings.ToLower(w)) {
			return true
		}
	}
	return false
}
