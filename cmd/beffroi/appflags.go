package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"beffroi/oidc"
)

// appFlags are what `app add` and `app edit` may say of an application: each
// flag that is given is one change, so that an edit touches nothing else.
type appFlags struct {
	changes    []func(*oidc.Client) error
	secretFile string
}

// apply makes the changes in the order in which they were given.
func (a *appFlags) apply(c *oidc.Client) error {
	for _, change := range a.changes {
		if err := change(c); err != nil {
			return err
		}
	}
	return nil
}

func (a *appFlags) add(flags *flag.FlagSet) {
	flag := func(name, usage string, change func(c *oidc.Client, value string) error) {
		flags.Func(name, usage, func(value string) error {
			a.changes = append(a.changes, func(c *oidc.Client) error {
				if err := change(c, value); err != nil {
					return fmt.Errorf("-%s: %w", name, err)
				}
				return nil
			})
			return nil
		})
	}
	text := func(name, usage string, field func(c *oidc.Client) *string) {
		flag(name, usage, func(c *oidc.Client, value string) error { *field(c) = value; return nil })
	}
	word := func(name, usage, lang string, field func(c *oidc.Client) *map[string]string) {
		flag(name, usage, func(c *oidc.Client, value string) error {
			said := map[string]string{}
			for l, s := range *field(c) {
				said[l] = s // the map of the registry is not ours to change
			}
			if said[lang] = value; value == "" {
				delete(said, lang)
			}
			*field(c) = said
			return nil
		})
	}
	// A list is given anew as a whole: the first value replaces what was there.
	list := func(name, usage string, split func(string) []string, field func(c *oidc.Client) *[]string) {
		first := true
		flag(name, usage, func(c *oidc.Client, value string) error {
			if first {
				*field(c), first = nil, false
			}
			*field(c) = append(*field(c), split(value)...)
			return nil
		})
	}
	yes := func(name, usage string, field func(c *oidc.Client) *bool) {
		flags.BoolFunc(name, usage, func(value string) error {
			on, err := strconv.ParseBool(value)
			if err != nil {
				return err
			}
			a.changes = append(a.changes, func(c *oidc.Client) error { *field(c) = on; return nil })
			return nil
		})
	}

	name := func(c *oidc.Client) *map[string]string { return &c.Name }
	about := func(c *oidc.Client) *map[string]string { return &c.Description }
	word("name", "its `NAME` in French", "fr", name)
	word("name-en", "its `NAME` in English", "en", name)
	word("description", "one `LINE` about it in French", "fr", about)
	word("description-en", "one `LINE` about it in English", "en", about)
	text("home", "the `URL` that its tile opens; none, no tile", func(c *oidc.Client) *string { return &c.Home })
	text("icon", "`NAME` of the tile's icon", func(c *oidc.Client) *string { return &c.Icon })
	text("category", "`NAME` of the tile's category", func(c *oidc.Client) *string { return &c.Category })
	text("logo", "`URL` of its picture, on a host of its own", func(c *oidc.Client) *string { return &c.Logo })
	text("contact", "whom to ask about it: mail address, telephone or https `ADDRESS`", func(c *oidc.Client) *string { return &c.Contact })
	text("policy", "`URL` of what it does with what it learns", func(c *oidc.Client) *string { return &c.Policy })
	text("terms", "`URL` of its terms of service", func(c *oidc.Client) *string { return &c.Terms })

	list("groups", "`GROUPS` whose members may open it; none, everyone", commas, func(c *oidc.Client) *[]string { return &c.Groups })
	flag("assurance", "`N`: 1 password, 2 a second factor, 3 one that resists phishing; 0, the provider's default", func(c *oidc.Client, value string) (err error) {
		c.Assurance, err = strconv.Atoi(value)
		return err
	})
	text("consent", "`WHEN` a person is asked: never, once or always", func(c *oidc.Client) *string { return &c.Consent })
	text("profile", "`NAME` of the contract it is served by: proconnect", func(c *oidc.Client) *string { return &c.Profile })

	yes("public", "it can keep no secret (in a browser, on a telephone)", func(c *oidc.Client) *bool { return &c.Public })
	text("auth-method", "the one `WAY` it authenticates: client_secret_basic, client_secret_post, private_key_jwt or none", func(c *oidc.Client) *string { return &c.AuthMethod })
	text("assertion-alg", "the one `ALG` of its assertions: RS256, PS256, ES256 or EdDSA", func(c *oidc.Client) *string { return &c.AssertionAlg })
	flag("jwks", "`FILE` of its public keys, a JWK Set", func(c *oidc.Client, value string) (err error) {
		if c.JWKS = nil; value != "" {
			c.JWKS, err = os.ReadFile(value)
		}
		return err
	})
	text("jwks-uri", "`URL` of its public keys", func(c *oidc.Client) *string { return &c.JWKSURI })

	list("redirect", "a redirect `URI`, exact; may be repeated", whole, func(c *oidc.Client) *[]string { return &c.RedirectURIs })
	list("post-logout", "a post-logout redirect `URI`, exact; may be repeated", whole, func(c *oidc.Client) *[]string { return &c.PostLogoutURIs })
	list("scopes", "`SCOPES` it may ask", commas, func(c *oidc.Client) *[]string { return &c.Scopes })
	list("grants", "`GRANTS` it may use: authorization_code, refresh_token, client_credentials, device_code, token-exchange, jwt-bearer", grantNames, func(c *oidc.Client) *[]string { return &c.Grants })
	yes("no-pkce", "it cannot do PKCE (old software only)", func(c *oidc.Client) *bool { return &c.PKCEWaived })
	yes("par-required", "its authorization requests are pushed (RFC 9126)", func(c *oidc.Client) *bool { return &c.PARRequired })
	text("request-alg", "the one `ALG` of its request objects", func(c *oidc.Client) *string { return &c.RequestAlg })
	list("request-uri", "a `URI` where its request objects lie, exact; may be repeated", whole, func(c *oidc.Client) *[]string { return &c.RequestURIs })
	flag("default-max-age", "`SECONDS` since the sign-in, when a request says nothing", func(c *oidc.Client, value string) error {
		if value == "" {
			c.DefaultMaxAge = nil
			return nil
		}
		n, err := strconv.ParseInt(value, 10, 64)
		c.DefaultMaxAge = &n
		return err
	})
	list("default-acr", "`ACRS` asked when a request says nothing", commas, func(c *oidc.Client) *[]string { return &c.DefaultACRs })
	text("initiate-login", "https `URL` where a sign-in may be begun for it", func(c *oidc.Client) *string { return &c.InitiateLogin })

	text("id-token-alg", "`ALG` of its ID tokens: RS256, PS256, ES256 or EdDSA", func(c *oidc.Client) *string { return &c.IDTokenAlg })
	text("userinfo-alg", "`ALG` of userinfo as a signed JWT; none, JSON", func(c *oidc.Client) *string { return &c.UserinfoAlg })
	text("introspection-alg", "`ALG` of introspection as a signed JWT (RFC 9701)", func(c *oidc.Client) *string { return &c.IntrospectionAlg })
	text("token-format", "`FORMAT` of its access tokens: opaque, at+jwt or jwt", func(c *oidc.Client) *string { return &c.TokenFormat })
	text("token-alg", "`ALG` of its JWT access tokens", func(c *oidc.Client) *string { return &c.TokenAlg })
	text("subject-type", "`TYPE` of sub: public or pairwise", func(c *oidc.Client) *string { return &c.SubjectType })
	text("sector-uri", "https `URL` of the list of its redirect URIs, for pairwise", func(c *oidc.Client) *string { return &c.SectorURI })

	text("backchannel-logout", "`URL` where the provider tells it of a sign-out", func(c *oidc.Client) *string { return &c.BackchannelLogout })
	yes("backchannel-session", "sid is in its logout tokens", func(c *oidc.Client) *bool { return &c.BackchannelSession })
	text("frontchannel-logout", "`URL` by which the browser tells it of a sign-out", func(c *oidc.Client) *string { return &c.FrontchannelLogout })
	yes("frontchannel-session", "iss and sid are in that address", func(c *oidc.Client) *bool { return &c.FrontchannelSession })

	text("audience", "the resource `NAME` that it is, for introspection", func(c *oidc.Client) *string { return &c.Audience })
	list("resources", "`URLS` of the same resource, as the parameter resource names it", commas, func(c *oidc.Client) *[]string { return &c.Resources })
	list("exchange-to", "`AUDIENCES` for which it may have tokens", commas, func(c *oidc.Client) *[]string { return &c.ExchangeTo })
	firstIssuer := true
	flag("assertion-issuer", "who may vouch for people to it: `\"ISSUER KEYS [ASSURANCE]\"`, KEYS a file or an address; may be repeated", func(c *oidc.Client, value string) error {
		if firstIssuer {
			c.AssertionIssuers, firstIssuer = nil, false
		}
		if value == "" {
			return nil
		}
		one, err := assertionIssuer(value)
		c.AssertionIssuers = append(c.AssertionIssuers, one)
		return err
	})
}

func assertionIssuer(value string) (oidc.AssertionIssuer, error) {
	var one oidc.AssertionIssuer
	parts := strings.Fields(value)
	if len(parts) < 2 || len(parts) > 3 {
		return one, fmt.Errorf("%q is not \"ISSUER KEYS [ASSURANCE]\"", value)
	}
	one.Issuer = parts[0]
	if strings.Contains(parts[1], "://") {
		one.JWKSURI = parts[1]
	} else if keys, err := os.ReadFile(parts[1]); err == nil {
		one.JWKS = keys
	} else {
		return one, err
	}
	if len(parts) == 3 {
		n, err := strconv.Atoi(parts[2])
		if err != nil {
			return one, err
		}
		one.Assurance = n
	}
	return one, nil
}

// commas splits a list that stands in one argument.
func commas(s string) []string {
	var all []string
	for one := range strings.SplitSeq(s, ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

// whole is a value that may hold a comma; an empty one empties the list.
func whole(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// grantNames reads the long names of grants by their last word.
func grantNames(s string) []string {
	all := commas(s)
	for i, one := range all {
		for _, long := range []string{oidc.GrantExchange, oidc.GrantDevice, oidc.GrantJWTBearer} {
			if strings.HasSuffix(long, ":"+one) {
				all[i] = long
			}
		}
	}
	return all
}

// chosenSecret reads a secret that the operator chose, from a file or, with
// "-", from standard input; none, one is made.
func chosenSecret(file string, in io.Reader) ([]string, error) {
	if file == "" {
		return nil, nil
	}
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(in, 4096))
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("-secret-file: %w", err)
	}
	return []string{strings.TrimSpace(string(text))}, nil
}
