package oidc

import (
	"context"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"beffroi/internal/secret"
)

// recipient is the application that an access token is made for; it decides
// what the token looks like.
func (i *issue) recipient() *Client {
	if len(i.targets) == 1 {
		return i.targets[0]
	}
	return i.client
}

// readsJWT tells whether the access tokens made for c are JWTs.
func (c *Client) readsJWT() bool { return c.TokenFormat == FormatJWT || c.TokenFormat == FormatOldJWT }

func (c Client) validateTokens(wrong func(key, format string, args ...any)) {
	if c.TokenFormat == FormatOldJWT && c.TokenAlg == EdDSA {
		wrong("token_alg", "who reads token_format %s (Dovecot) does not read EdDSA: RS256, PS256 or ES256", FormatOldJWT)
	}
}

// hashOfJTI is how the row of a JWT is known. Set apart from opaque tokens: a
// jti, written as one, opens nothing.
func hashOfJTI(jti string) string { return secret.Hash("jti " + jti) }

// newAccess returns an access token and the hash that its row is known by. Of a
// JWT only the jti exists yet: it is signed by signAccess, after the database
// is done with.
func (i *issue) newAccess() (plain, hash string) {
	if !i.recipient().readsJWT() {
		return newSecret(prefixAccess)
	}
	jti := secret.Random()
	return jti, hashOfJTI(jti)
}

// nameless refuses to hand a pairwise application a JWT for somebody else, who
// knows the person by another name: the application could read it there.
func (p *Provider) nameless(i *issue) error {
	to := i.recipient()
	if i.grant.ID == "" || !to.readsJWT() || i.client.SubjectType != SubjectPairwise || p.subject(to, i.grant.Person) == p.subject(i.client, i.grant.Person) {
		return nil
	}
	return refused(errInvalidTarget, "the application knows people by names of its own (pairwise), and a signed token for this audience would tell it another")
}

// signAccess puts the signed access token into the answer, where its recipient
// reads JWTs (RFC 9068). Its row stays the authority: a JWT whose row is ended
// is dead to the provider, whatever it says.
func (p *Provider) signAccess(ctx context.Context, i *issue, response fosite.AccessResponder) error {
	to := i.recipient()
	if !to.readsJWT() {
		return nil
	}
	typ := typAccess
	if to.TokenFormat == FormatOldJWT {
		typ = typJWT
	}
	signed, err := p.keys.sign(ctx, to.TokenAlg, typ, p.accessClaims(i, to, response.GetAccessToken()))
	if err != nil {
		return err
	}
	response.SetAccessToken(signed)
	return nil
}

// accessClaims is what an access token says (RFC 9068 §2.2): as little of the
// person as its reader needs, because the application that carries it can read it.
func (p *Provider) accessClaims(i *issue, to *Client, jti string) map[string]any {
	t := i.stores
	claims := map[string]any{
		"iss": p.cfg.Issuer, "jti": jti, "iat": t.Created.Unix(), "exp": t.AccessEnds.Unix(),
		"client_id": t.Client, "azp": t.Client, "scope": t.Scope, "aud": t.Client, "sub": t.Client,
	}
	switch all := words(t.Audience); {
	case len(all) == 1:
		claims["aud"] = all[0]
	case len(all) > 1:
		claims["aud"] = all
	}
	if t.Actors != "" {
		claims["act"] = actorClaim(t.Actors)
	}
	if i.grant.ID == "" {
		return claims // an application for itself
	}
	claims["sub"] = p.subject(to, i.person.ID)
	i.grant.putProof(claims)
	has := func(scope string) bool { return slices.Contains(words(t.Scope), scope) }
	if has("groups") {
		putGroups(claims, i.person.Groups)
	}
	// Who reads JWTs of the old kind finds the mailbox by the login.
	if to.TokenFormat == FormatOldJWT && (to.SubjectType != SubjectPairwise || has("profile")) {
		claims["username"], claims["preferred_username"] = i.person.Login, i.person.Login
	}
	return claims
}

// jti returns the jti of an access token signed here with a key that is still
// published. Whether the token lives, its row tells.
func (k *Keys) jti(ctx context.Context, token string) (string, bool) {
	if !strings.Contains(token, ".") {
		return "", false
	}
	t, err := k.verify(ctx, token)
	if err != nil || !t.published || t.typ != typAccess && t.typ != typJWT {
		return "", false
	}
	jti, ok := t.claims["jti"].(string)
	return jti, ok && jti != ""
}
