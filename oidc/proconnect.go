package oidc

import (
	"context"
	"slices"

	"beffroi/directory"
	"beffroi/internal/web"
	"beffroi/signin"
)

// What ProConnect, the State's federation of agents, asks of a provider. The
// contract is what its own code does (proconnect-gouv/federation): it is an
// ordinary client with a secret, without PKCE, that reads the identity from a
// signed userinfo and refuses what does not fit its form.
var (
	// proconnectScopes is asked with every request, all of it.
	proconnectScopes = []string{"openid", "uid", "given_name", "usual_name", "email", "siren", "siret", "organizational_unit", "belonging_population", "phone", "chorusdt"}

	// proconnectClaims may stand in userinfo; an unknown one is left out.
	proconnectClaims = []string{"uid", "given_name", "usual_name", "email", "siren", "siret", "organizational_unit", "belonging_population", "phone_number", "chorusdt:societe", "chorusdt:matricule"}

	// proconnectAlgorithms are those that it verifies without a shared secret.
	proconnectAlgorithms = []string{ES256, RS256}
)

func (c Client) isProConnect() bool { return c.Profile == ProfileProConnect }

// proconnectDefaults turns on what the contract asks of the application. What
// the operator has chosen stays, for validateProConnect to judge.
func (c Client) proconnectDefaults() Client {
	c.Scopes = union(slices.Clone(c.Scopes), proconnectScopes)
	if len(c.Grants) == 0 {
		c.Grants = []string{GrantCode} // it asks once per sign-in and refreshes nothing
	}
	if c.AuthMethod == "" {
		c.AuthMethod = AuthPost
	}
	if c.UserinfoAlg == "" {
		c.UserinfoAlg = ES256
	}
	if c.IDTokenAlg == "" {
		c.IDTokenAlg = ES256
	}
	// It sends no code_challenge; its secret, its nonce and its state, which are
	// always there, protect the code instead.
	c.PKCEWaived = true
	return c
}

// validateProConnect holds what would make ProConnect, or the convention that
// the academy has signed with it, fail for everybody or for somebody.
func (c Client) validateProConnect(wrong func(key, format string, args ...any)) {
	d := c.withDefaults(0)
	if c.Public {
		wrong("public", "ProConnect keeps a secret: an application of its profile is never public")
	}
	if d.AuthMethod != AuthPost {
		wrong("auth_method", "ProConnect authenticates with client_secret_post, not %s", d.AuthMethod)
	}
	if !slices.Contains(d.Grants, GrantCode) {
		wrong("grants", "ProConnect uses authorization_code")
	}
	if len(c.PostLogoutURIs) == 0 {
		wrong("post_logout_redirect_uris", "ProConnect names the address where it goes on after a sign-out: add its …/client/logout-callback")
	}
	if len(c.Groups) > 0 {
		wrong("groups", "every valid address of the academy's domains must be able to sign in (ProConnect's convention), so no group may be asked")
	}
	if c.Assurance > int(signin.TwoFactors) {
		wrong("assurance", "3 would refuse whoever has no key that resists phishing, and every valid address must be able to sign in: 1 or 2")
	}
	if d.Consent != ConsentNever {
		wrong("consent", "the academy has consented by its convention with ProConnect: leave it out")
	}
	if c.PARRequired {
		wrong("par_required", "ProConnect pushes no request")
	}
	if !slices.Contains(proconnectAlgorithms, d.UserinfoAlg) {
		wrong("userinfo_alg", "ProConnect verifies ES256 or RS256, not %s", d.UserinfoAlg)
	}
	if !slices.Contains(proconnectAlgorithms, d.IDTokenAlg) {
		wrong("id_token_alg", "ProConnect verifies ES256 or RS256, not %s", d.IDTokenAlg)
	}
}

// proconnectUserinfo is all that userinfo tells ProConnect: what it does not
// know it would hand on to every service (its claim custom), so nothing else.
func (p *Provider) proconnectUserinfo(ctx context.Context, c *Client, person directory.Person, scopes []string) map[string]any {
	claims := p.proconnect.claims(person, scopes)
	claims["sub"] = p.subject(c, person.ID)
	if missing := missingForProConnect(claims); len(missing) > 0 {
		p.log.WarnContext(ctx, "ProConnect will turn somebody away (Y500006): the directory lacks what it requires",
			"person", person.ID, "missing", missing, "request", web.RequestID(ctx))
	}
	return claims
}
