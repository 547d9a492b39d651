// Package proconnect plays ProConnect, the State's federation of agents,
// against a running provider: over HTTP, with the requests and the checks that
// ProConnect's own code makes (proconnect-gouv/federation: openid-client with
// client_secret_post, nonce and state, no PKCE, a signed userinfo read into a
// form), and says for each rule of that contract whether the provider holds it.
//
// It shares nothing with the provider but the addresses. It promises that a
// rule is red for what it names and nothing else: what could not be looked at,
// because an earlier rule stood in the way, is neither green nor red.
package proconnect

import (
	"context"
	"net/http"
	"time"
)

// Config says which provider is tried, as which client, and with whose account.
type Config struct {
	Issuer        string
	ClientID      string
	ClientSecret  string
	RedirectURI   string // registered; nothing needs to listen there
	PostLogoutURI string // registered
	IDTokenAlg    string // as told to ProConnect: ES256 or RS256
	UserinfoAlg   string
	MailDomains   []string // declared to ProConnect, in lower case

	Login, Password string
	Mail            string // what the person types at ProConnect: login_hint
	// Code gives a code of the account's second factor that was not used yet.
	// Without it an account that is asked for one does not get in.
	Code func(ctx context.Context) (string, error)
	// Expire gives the same ID token as if it had been issued long ago. Without
	// it the rule about expired hints is not looked at.
	Expire func(ctx context.Context, idToken string) (string, error)

	Transport http.RoundTripper // nil: the usual one
	Now       func() time.Time  // nil: the clock
}

// State is what is known of a rule.
type State string

const (
	OK      State = "ok"
	Red     State = "red"
	Unknown State = "unknown" // not looked at: an earlier rule stood in the way
)

// Rule is one line of the contract. Its sentences are proconnect.rule.NAME
// and proconnect.fix.NAME.
type Rule struct {
	Name string `json:"rule"`
	Code string `json:"code,omitempty"` // what ProConnect shows where it does not hold; "" where it shows nothing of its own
}

// Result is a rule and what was seen of it.
type Result struct {
	Rule
	State State  `json:"state"`
	Saw   string `json:"saw,omitempty"` // what was seen, where it is red or could not be looked at
}

// Rules is the contract, in the order in which it is tried.
var Rules = []Rule{
	// What the provider says of itself.
	{"discovery", "Y020031"},
	{"endpoints", "Y020031"},
	{"keys", "Y020026"},
	// The authorization request and the sign-in.
	{"redirect_uri", ""},
	{"request", "Y020032"},
	{"scopes", "Y020025"},
	{"login_hint", ""},
	{"hint_signs_in", ""},
	{"sign_in", ""},
	{"callback", "Y020026"},
	{"state", "Y020026"},
	{"response_iss", "Y020026"},
	// The token request and the ID token.
	{"token", "Y020026"},
	{"id_token_signature", "Y020026"},
	{"id_token_issuer", "Y020026"},
	{"id_token_audience", "Y020026"},
	{"id_token_times", "Y020026"},
	{"id_token_nonce", "Y020026"},
	{"acr", "Y020018"},
	{"amr", "Y020030"},
	// Userinfo, and the identity read from it.
	{"userinfo_signature", "Y020027"},
	{"userinfo_party", "Y020027"},
	{"userinfo_sub", "Y020029"},
	{"sub", "Y500006"},
	{"given_name", "Y500006"},
	{"usual_name", "Y500006"},
	{"email", "Y500006"},
	{"email_domain", "Y500027"},
	{"uid", "Y500006"},
	{"siret", ""},
	{"siren", ""},
	{"population", ""},
	{"phone", ""},
	{"optional", "Y500006"},
	// How surely somebody is known.
	{"essential_eidas1", ""},
	{"mfa", ""},
	{"mfa_amr", ""},
	{"essential_unreachable", ""},
	{"unknown_acr", "Y020032"},
	{"unknown_scope", "Y020025"},
	// What must be refused.
	{"error_answer", "Y020032"},
	{"code_once", ""},
	{"wrong_secret", ""},
	{"foreign_redirect", ""},
	// Signing out.
	{"logout", ""},
	{"logout_ends", ""},
	{"logout_expired", ""},
}

// scopes is what ProConnect asks, each time.
const scopes = "openid uid given_name usual_name email siren siret organizational_unit belonging_population phone chorusdt"

// known are the values of acr that ProConnect reads.
var known = []string{"eidas0", "eidas0-mfa", "eidas1", "eidas1-mfa", "eidas2", "eidas3", "https://proconnect.gouv.fr/assurance/certification-dirigeant"}

// methods are the values of amr that it documents.
var methods = []string{"pwd", "mail", "totp", "pop", "mfa"}

// Run plays every scene. The error is the context's; all else is in the results.
func Run(ctx context.Context, c Config) ([]Result, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	p := &play{Config: c, seen: map[string]Result{}}
	p.all(ctx)
	results := make([]Result, 0, len(Rules))
	for _, rule := range Rules {
		r, ok := p.seen[rule.Name]
		if !ok {
			r.State = Unknown
		}
		r.Rule = rule
		results = append(results, r)
	}
	return results, ctx.Err()
}

// play is one run.
type play struct {
	Config
	seen map[string]Result
	meta metadata
	keys keySet
}

// hold notes whether a rule holds. What was red once stays red.
func (p *play) hold(rule string, ok bool, saw string) bool {
	switch {
	case p.seen[rule].State == Red:
	case ok:
		p.seen[rule] = Result{State: OK}
	default:
		p.seen[rule] = Result{State: Red, Saw: saw}
	}
	return ok
}

// pass notes that a rule holds as far as an error tells.
func (p *play) pass(rule string, err error) bool {
	if err != nil {
		return p.hold(rule, false, err.Error())
	}
	return p.hold(rule, true, "")
}
