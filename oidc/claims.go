package oidc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"beffroi/directory"
)

// userinfoClaims is what a token's application learns at userinfo.
func (p *Provider) userinfoClaims(ctx context.Context, c *Client, person directory.Person, l *living) map[string]any {
	if c.isProConnect() {
		return p.proconnectUserinfo(ctx, c, person, words(l.Scope))
	}
	claims := personClaims(p.subject(c, person.ID), person, words(l.Scope))
	l.grant.putProof(claims)
	addRequested(claims, storedClaims(l.grant.Claims).Userinfo, person, c)
	return claims
}

// personClaims is what the scopes tell about a person, beside sub, by which the
// asking application knows the person. It is pure; what the directory does not
// hold is left out.
func personClaims(sub string, person directory.Person, scopes []string) map[string]any {
	claims := map[string]any{"sub": sub}
	put := func(name, value string) {
		if value != "" {
			claims[name] = value
		}
	}
	if slices.Contains(scopes, "profile") {
		put("preferred_username", person.Login)
		put("name", person.DisplayName)
		put("given_name", person.GivenName)
		put("family_name", person.FamilyName)
		put("locale", person.Language)
	}
	if slices.Contains(scopes, "email") && person.Mail != "" {
		claims["email"], claims["email_verified"] = person.Mail, true // the academy gave the address
	}
	if slices.Contains(scopes, "phone") {
		put("phone_number", person.Phone)
	}
	if slices.Contains(scopes, "groups") {
		putGroups(claims, person.Groups)
	}
	return claims
}

// putGroups writes the groups as an array, and flat beside it: Dovecot and other
// readers of plain strings cannot see into an array.
func putGroups(claims map[string]any, groups []string) {
	if groups == nil {
		groups = []string{}
	}
	claims["groups"], claims["groups_csv"] = groups, strings.Join(groups, ",")
}

// putProof writes how the person was known, and when. By an assertion that was
// another system's affair, which says no methods.
func (g *grant) putProof(claims map[string]any) {
	claims["acr"], claims["auth_time"] = g.ACR, g.AuthTime.Unix()
	if g.AMR != "" {
		claims["amr"] = words(g.AMR)
	}
}

// idToken signs the ID token of an issue (OpenID Connect Core §2).
func (p *Provider) idToken(ctx context.Context, i *issue, access string) (string, error) {
	claims := personClaims(p.subject(i.client, i.person.ID), i.person, i.idScopes())
	if i.client.isProConnect() {
		// It reads the identity from userinfo, and sends the ID token back through
		// the browser's address at sign-out: nobody's name belongs there.
		claims = map[string]any{"sub": claims["sub"]}
	}
	now := p.now()
	claims["iss"] = p.cfg.Issuer
	claims["aud"] = i.client.ID
	claims["azp"] = i.client.ID
	claims["iat"] = now.Unix()
	claims["exp"] = now.Add(p.cfg.IDTokenLife).Unix()
	i.grant.putProof(claims)
	if i.grant.SID != "" {
		claims["sid"] = i.grant.SID
	}
	claims["at_hash"] = leftHalf(i.client.IDTokenAlg, access)
	if i.grant.Nonce != "" && i.stores.Origin == originCode {
		claims["nonce"] = i.grant.Nonce // not repeated on refresh (§12.2, T16)
	}
	addRequested(claims, storedClaims(i.grant.Claims).IDToken, i.person, i.client)
	return p.keys.sign(ctx, i.client.IDTokenAlg, typJWT, claims)
}

// LongExpired writes an ID token of this provider again as if it had been issued
// a day ago: what an application holds whose session outlived the token. It is
// good as a hint at most, for the person and the application of the first.
func (p *Provider) LongExpired(ctx context.Context, idToken string) (string, error) {
	if _, err := p.readHint(ctx, idToken); err != nil {
		return "", err
	}
	t, err := p.keys.verify(ctx, idToken)
	if err != nil {
		return "", err
	}
	issued := p.now().Add(-24 * time.Hour)
	t.claims["iat"], t.claims["auth_time"], t.claims["exp"] = issued.Unix(), issued.Unix(), issued.Add(time.Minute).Unix()
	return p.keys.sign(ctx, t.key.alg, typJWT, t.claims)
}

// hint is an ID token that comes back. sub is what the client knows the person
// by: compare it with Provider.subject.
type hint struct{ client, sub, sid, login string }

// readHint reads an id_token_hint: signed here, for one client, expired or not
// (RP-Initiated Logout §2: sessions outlive ID tokens). Other tokens signed
// here have another typ, or no at_hash, which every ID token has.
func (p *Provider) readHint(ctx context.Context, idToken string) (hint, error) {
	t, err := p.keys.verify(ctx, idToken)
	if err != nil {
		return hint{}, err
	}
	text := func(name string) string { s, _ := t.claims[name].(string); return s }
	h := hint{client: text("aud"), sub: text("sub"), sid: text("sid"), login: text("preferred_username")}
	if t.typ != typJWT || text("iss") != p.cfg.Issuer || h.client == "" || h.sub == "" || text("at_hash") == "" {
		return hint{}, errors.New("the hint is not an ID token of this provider")
	}
	return h, nil
}
