package oidc

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/signin"
)

// grantTypes is every grant that the token endpoint answers.
var grantTypes = []string{GrantCode, GrantRefresh, GrantClientCredentials, GrantExchange, GrantDevice, GrantJWTBearer}

// token is POST /oauth2/token. Whatever the grant, the steps are these: read
// strictly, authenticate the client and load what it presents (fosite calls the
// grant's HandleTokenEndpointRequest), ask the gate once, store and answer.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) error {
	answer, err := p.issueTokens(r)
	if err != nil {
		return p.writeError(w, err)
	}
	return writeJSON(w, http.StatusOK, answer)
}

func (p *Provider) issueTokens(r *http.Request) (map[string]any, error) {
	form, err := postedForm(r, resourceParameter)
	if err != nil {
		return nil, err
	}
	switch grant := form.Get("grant_type"); {
	case grant == "":
		return nil, refused(fosite.ErrInvalidRequest, "grant_type is missing")
	case !slices.Contains(grantTypes, grant):
		return nil, errUnsupportedGrant // fosite would say invalid_request (T13)
	}
	ctx := r.Context()
	request, err := p.engine.NewAccessRequest(ctx, r, &issue{})
	if err != nil {
		return nil, err
	}
	i := issueOf(request)
	if err := p.admit(ctx, i); err != nil {
		return nil, err
	}
	if err := p.nameless(i); err != nil {
		return nil, err
	}
	response, err := p.engine.NewAccessResponse(ctx, request)
	if err != nil {
		return nil, err
	}
	if err := p.noteMailbox(ctx, i); err != nil {
		return nil, err
	}
	// Signed after the database is done with: nothing waits for it.
	if err := p.signAccess(ctx, i, response); err != nil {
		return nil, err
	}
	if i.grant.ID != "" && slices.Contains(i.idScopes(), "openid") && i.stores.Origin != originExchange {
		idToken, err := p.idToken(ctx, i, response.GetAccessToken())
		if err != nil {
			return nil, err
		}
		response.SetExtra("id_token", idToken)
	}
	return response.ToMap(), nil
}

// admit asks the gate, before any token of a person exists. An application
// acting for itself has nobody to ask about.
func (p *Provider) admit(ctx context.Context, i *issue) error {
	if i.grant.ID == "" {
		return nil
	}
	person, err := p.admitGrant(ctx, i.client, &i.grant)
	for _, resource := range i.targets {
		if err == nil { // what is for a resource passes its rule as well
			_, err = p.admitTo(ctx, resource, &i.grant)
		}
	}
	if err == nil && i.source != nil {
		// And that of the application whose token it was: a token that its own
		// application may not use any more is no reason for another one.
		_, err = p.admitTo(ctx, i.source, &i.grant)
	}
	if why := signin.Refused(err); why != nil {
		p.refuse(ctx, i.client, audit.Event{Action: "oidc.admit", Target: i.grant.Person, Detail: map[string]string{"reason": why.Reason}})
		if why.Reason == signin.TooWeak {
			return refused(fosite.ErrInvalidGrant, "the sign-in was weaker than is asked now: the person must sign in again").WithWrap(err)
		}
		return refused(fosite.ErrInvalidGrant, "the person may not use this application any more, or has signed out").WithWrap(err)
	}
	i.person = person
	return err
}

// answerTokens writes what every grant answers.
func (p *Provider) answerTokens(response fosite.AccessResponder, access string, t token) {
	response.SetAccessToken(access)
	response.SetTokenType("Bearer")
	response.SetExpiresIn(t.AccessEnds.Sub(t.Created.Time))
	response.SetScopes(words(t.Scope))
}

// newToken starts the row of an access token for the issue.
func (p *Provider) newToken(i *issue, origin string) (access string, t token) {
	access, hash := i.newAccess()
	now := p.now()
	return access, token{AccessHash: hash, Grant: i.grant.ID, Origin: origin, Client: i.client.ID, Scope: strings.Join(i.scopes, " "), Audience: audiencesOf(i.targets),
		Created: db.At(now), AccessEnds: db.At(now.Add(p.cfg.AccessLife))}
}

// newRefresh adds a refresh token to the row. None outlives its authorization.
func (p *Provider) newRefresh(i *issue, t *token) (refresh string) {
	refresh, t.RefreshHash = newSecret(prefixRefresh)
	t.RefreshEnds = soonest(t.Created.Add(p.cfg.RefreshLife), i.grant.Ends.Time)
	return refresh
}

// only is the part of asked that is also in allowed, in the order asked.
func only(asked, allowed []string) []string {
	var out []string
	for _, s := range asked {
		if slices.Contains(allowed, s) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// within tells whether every word of asked is in allowed.
func within(asked, allowed []string) bool {
	return !slices.ContainsFunc(asked, func(s string) bool { return !slices.Contains(allowed, s) })
}

// outlives is the end of an authorization's family.
func (p *Provider) outlives(now time.Time, offline bool) db.Time {
	if offline {
		return db.At(now.Add(p.cfg.OfflineMost))
	}
	return db.At(now.Add(p.cfg.SessionMost))
}
