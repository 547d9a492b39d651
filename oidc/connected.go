package oidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/i18n"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/signin"
	"beffroi/templates"
)

// closedShown is how long a person is told of an access that was closed.
const closedShown = 30 * 24 * time.Hour

// connection is what one application has of a person.
type connection struct {
	client         string
	scopes, claims []string
	since, used    time.Time
	open           bool // an authorization lives
	away           bool // and outlives the session
}

// connectedPage is GET /account/applications: what each application may know
// and do of who is signed in, and a button that takes it back. Whom the gate
// refuses sees none of it; while the directory is down, it is shown all the same.
func (p *Provider) connectedPage(w http.ResponseWriter, r *http.Request) error {
	const here = "/account/applications"
	ctx, lang := r.Context(), web.Lang(r.Context())
	sess := session.From(ctx)
	if sess == nil {
		return p.signin.Begin(w, r, signin.AccountRequest(here))
	}
	account := signin.AccountRequest(here)
	if _, err := p.gate.Admit(ctx, sess.Person, account.Application, sess.SID); signin.Refused(err) != nil {
		return p.signin.Begin(w, r, account) // says why
	}
	connections, err := p.store.connections(ctx, sess.Person)
	if err != nil {
		return err
	}
	page := &templates.OidcConnected{}
	for _, one := range connections {
		c, err := p.clients.Get(ctx, one.client)
		if errors.Is(err, ErrUnknownClient) {
			continue // removed, and all that it had with it
		}
		if err != nil {
			return err
		}
		page.Apps = append(page.Apps, templates.OidcConnectedApp{
			ID: c.ID, Name: c.app.Title(string(lang)), Home: c.Home, Contact: signin.Contact(c.app.Contact), Told: told(lang, one.scopes, one.claims),
			Since: p.signin.Local(one.since), Used: p.signin.Local(one.used), Open: one.open, Away: one.away,
		})
	}
	if page.Closed, err = p.closings(ctx, sess.Person, lang); err != nil {
		return err
	}
	if c, err := p.clients.Get(ctx, r.URL.Query().Get("revoked")); err == nil {
		page.Revoked = c.app.Title(string(lang))
	}
	page.Title, page.CSS = i18n.T(lang, "oidc.connected.title"), appCSS
	return web.Render(w, r, http.StatusOK, page)
}

// disconnect is POST /account/applications, field application: it ends all that
// the application holds of who is signed in, what was allowed with it, and
// tells the application. It can be undone by opening the application again.
func (p *Provider) disconnect(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	sess := session.From(ctx)
	if sess == nil {
		return p.signin.Begin(w, r, signin.AccountRequest("/account/applications"))
	}
	client := web.Field(r, "application")
	if _, err := p.clients.Get(ctx, client); err != nil {
		if errors.Is(err, ErrUnknownClient) {
			return web.Fail(http.StatusNotFound, "oidc.error.connected", err)
		}
		return err
	}
	err := p.store.db.InTx(ctx, func(ctx context.Context) error {
		if err := p.EndApplication(ctx, sess.Person, client); err != nil {
			return err
		}
		if err := p.store.forbid(ctx, sess.Person, client); err != nil {
			return err
		}
		return p.audit.Record(ctx, personHere(ctx, sess.Person), audit.Event{Action: "oidc.disconnect", Target: sess.Person, Application: client, Outcome: "ok"})
	})
	if err != nil {
		return err
	}
	return web.Redirect(w, r, "/account/applications?revoked="+url.QueryEscape(client))
}

// closings are the accesses that were closed because a code or a refresh token
// was presented twice: somebody may have had a copy.
func (p *Provider) closings(ctx context.Context, person string, lang i18n.Lang) ([]templates.OidcClosed, error) {
	var all []templates.OidcClosed
	for _, action := range []string{"oidc.refresh", "oidc.code", "oidc.device"} {
		rows, err := p.audit.About(ctx, person, action, p.now().Add(-closedShown), 50)
		if err != nil {
			return nil, fmt.Errorf("closed accesses of %s: %w", person, err)
		}
		for _, row := range rows {
			if row.Detail["closed"] == "" {
				continue
			}
			name := row.Application
			if c, err := p.clients.Get(ctx, row.Application); err == nil {
				name = c.app.Title(string(lang))
			}
			all = append(all, templates.OidcClosed{Name: name, At: p.signin.Local(row.At)})
		}
	}
	slices.SortFunc(all, func(a, b templates.OidcClosed) int { return b.At.Compare(a.At) })
	return all, nil
}

// connections are the applications that hold something of a person or may
// without asking, the last used first. An access that has run out with its
// session is not one, whatever was not swept yet.
func (s *store) connections(ctx context.Context, person string) ([]*connection, error) {
	byClient := map[string]*connection{}
	of := func(client string, since time.Time) *connection {
		one := byClient[client]
		if one == nil {
			one = &connection{client: client, since: since}
			byClient[client] = one
		}
		if since.Before(one.since) {
			one.since = since
		}
		return one
	}
	type row struct {
		grant
		used db.Time
	}
	grants, err := db.All(ctx, s.db, func(scan func(...any) error) (g row, err error) {
		return g, scan(&g.Client, &g.Scope, &g.Claims, &g.Offline, &g.Created, &g.used)
	}, `SELECT g.client, g.scope, g.claims, g.offline, g.created, (SELECT MAX(t.created) FROM oidc_token t WHERE t.grant_id = g.id) FROM oidc_grant g
		WHERE g.person = $1 AND g.ended IS NULL AND g.ends > $2 AND EXISTS (SELECT 1 FROM oidc_token t WHERE t.grant_id = g.id AND t.ends > $2)`, person, db.At(s.now()))
	if err != nil {
		return nil, fmt.Errorf("applications of %s: %w", person, err)
	}
	for _, g := range grants {
		one, asked := of(g.Client, g.Created.Time), storedClaims(g.Claims)
		one.scopes = union(one.scopes, words(g.Scope))
		one.claims = union(union(one.claims, asked.Userinfo), asked.IDToken)
		one.open, one.away = true, one.away || g.Offline
		if g.used.After(one.used) {
			one.used = g.used.Time
		}
	}
	type allowed struct {
		client, scopes, claims string
		given                  db.Time
	}
	consents, err := db.All(ctx, s.db, func(scan func(...any) error) (a allowed, err error) {
		return a, scan(&a.client, &a.scopes, &a.claims, &a.given)
	}, "SELECT client, scopes, claims, given FROM oidc_consent WHERE person = $1", person)
	if err != nil {
		return nil, fmt.Errorf("what %s allowed: %w", person, err)
	}
	for _, a := range consents {
		one := of(a.client, a.given.Time)
		one.scopes, one.claims = union(one.scopes, words(a.scopes)), union(one.claims, words(a.claims))
	}
	all := make([]*connection, 0, len(byClient))
	for _, one := range byClient {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *connection) int { return cmp.Or(b.used.Compare(a.used), cmp.Compare(a.client, b.client)) })
	return all, nil
}

// forbid takes back what the person allowed the application.
func (s *store) forbid(ctx context.Context, person, client string) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM oidc_consent WHERE person = $1 AND client = $2", person, client); err != nil {
		return fmt.Errorf("take consent back: %w", err)
	}
	return nil
}
