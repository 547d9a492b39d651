package oidc

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/web"
)

// Whoever is disabled, removed from the group, gone, signed out everywhere or locked
// loses everything, whatever way it is used (issue: Show 4). One table: each way
// against each reason, a person of its own for each, so that no way is shut only
// because another one noticed first. Every grant type and every route stands in
// it, or in the list of those that concern nobody: one without a row fails.

// leaver is somebody who has something and loses it.
type leaver struct {
	h         *house
	id, login string
	*guest
}

// tokens signs the leaver in to an application of the table.
func (l *leaver) tokens(client, scope string) answer {
	l.h.t.Helper()
	a := l.h.redeem(client, l.code(client, scope))
	l.h.must(a, 200)
	return a
}

func (l *leaver) code(client, scope string) string {
	l.h.t.Helper()
	code := l.get("/oauth2/authorize?" + request(client, "scope", scope).Encode()).left.Get("code")
	if code == "" {
		l.h.t.Fatalf("%s has no code", l.login)
	}
	return code
}

func (l *leaver) device() answer {
	a := l.h.asks("closed", "scope", "openid mail people applications offline_access")
	l.confirms(a, "allow").must(l.h.t, 200, "The device is allowed")
	return a
}

func (l *leaver) assertion() string {
	return signForeign(l.h.t, ES256, l.h.says(l.login))
}

func (l *leaver) vouched(scope string) answer {
	a := l.h.vouch("closed", l.assertion(), "scope", scope)
	l.h.must(a, 200)
	return a
}

// everyToken is an access token by each grant that gives one of a person, with
// the application that may look inside.
func (l *leaver) everyToken() map[string][2]string {
	const scope = "openid mail people applications offline_access"
	code := l.tokens("closed", scope)
	refreshed := l.h.refresh("closed", l.tokens("closed", scope).text("refresh_token"))
	jwt := l.tokens("closed-jwt", scope)
	return map[string][2]string{
		"code":          {"closed", code.text("access_token")},
		"session":       {"closed", l.tokens("closed", "openid mail people applications").text("access_token")},
		"refresh":       {"closed", refreshed.text("access_token")},
		"device":        {"closed", l.h.polls("closed", l.device().text("device_code")).text("access_token")},
		"assertion":     {"closed", l.vouched("openid mail people applications").text("access_token")},
		"JWT":           {"closed-jwt", jwt.text("access_token")},
		"exchange":      {"imap", l.h.exchange("closed", code.text("access_token")).text("access_token")},
		"exchanged JWT": {"imap", l.h.exchange("closed-jwt", jwt.text("access_token"), "subject_token_type", typeJWT).text("access_token")},
		"refresh token": {"closed", code.text("refresh_token")},
	}
}

// way is one way to go on. try is made before the fall and called after it: it
// returns "" when the way is shut, else what it led to.
type way struct {
	name   string
	covers []string // grant types and routes
	open   []string // reasons for which it stays open, because it does not depend on them
	try    func(l *leaver) (try func() string)
}

// shut tells what a refused request of an application leaked.
func shut(a answer) string {
	if a.status < 400 || a.text("access_token") != "" {
		return fmt.Sprintf("%d %s", a.status, a.body)
	}
	return ""
}

// turned tells what a browser got in spite of all.
func turned(p page, tells ...string) string {
	if p.left.Get("code") != "" {
		return "a code"
	}
	for _, one := range tells {
		if strings.Contains(p.body, one) {
			return one + " on " + p.path
		}
	}
	return ""
}

var ways = []way{
	{"a code", []string{GrantCode, "POST /oauth2/token"}, nil, func(l *leaver) func() string {
		code := l.code("closed", "openid mail")
		return func() string { return shut(l.h.redeem("closed", code)) }
	}},
	{"a code for offline_access", []string{GrantCode}, nil, func(l *leaver) func() string {
		code := l.code("closed", "openid offline_access")
		return func() string { return shut(l.h.redeem("closed", code)) }
	}},
	{"a refresh token", []string{GrantRefresh}, nil, func(l *leaver) func() string {
		a := l.tokens("closed", "openid offline_access")
		return func() string { return shut(l.h.refresh("closed", a.text("refresh_token"))) }
	}},
	{"a refresh token of the session", []string{GrantRefresh}, nil, func(l *leaver) func() string {
		a := l.tokens("closed", "openid")
		return func() string { return shut(l.h.refresh("closed", a.text("refresh_token"))) }
	}},
	{"a device's refresh token", []string{GrantRefresh, GrantDevice}, nil, func(l *leaver) func() string {
		a := l.h.polls("closed", l.device().text("device_code"))
		return func() string { return shut(l.h.refresh("closed", a.text("refresh_token"))) }
	}},
	{"an exchange", []string{GrantExchange}, nil, func(l *leaver) func() string {
		a := l.tokens("closed", "openid mail offline_access")
		return func() string { return shut(l.h.exchange("closed", a.text("access_token"))) }
	}},
	{"an exchange of a JWT", []string{GrantExchange}, nil, func(l *leaver) func() string {
		a := l.tokens("closed-jwt", "openid mail offline_access")
		return func() string {
			return shut(l.h.exchange("closed-jwt", a.text("access_token"), "subject_token_type", typeJWT))
		}
	}},
	{"an exchange of an assertion's token", []string{GrantExchange}, nil, func(l *leaver) func() string {
		a := l.vouched("mail")
		return func() string { return shut(l.h.exchange("closed", a.text("access_token"))) }
	}},
	{"an exchange by the resource", []string{GrantExchange}, nil, func(l *leaver) func() string {
		a := l.h.exchange("closed", l.tokens("closed", "openid mail offline_access").text("access_token"), "audience", "api")
		l.h.must(a, 200)
		return func() string { return shut(l.h.exchange("api", a.text("access_token"))) }
	}},
	{"a device that was allowed", []string{GrantDevice}, nil, func(l *leaver) func() string {
		a := l.device()
		return func() string { return shut(l.h.polls("closed", a.text("device_code"))) }
	}},
	{"allowing a device", []string{GrantDevice, "POST /device/confirm"}, nil, func(l *leaver) func() string {
		a := l.h.asks("closed")
		p := l.post("/device", "user_code", a.text("user_code")).must(l.h.t, 200, "Allow this device?")
		return func() string {
			if leak := turned(l.answers(p, "allow"), "is allowed"); leak != "" {
				return leak
			}
			return shut(l.h.polls("closed", a.text("device_code")))
		}
	}},
	{"the question about a device", []string{"GET /device/confirm"}, nil, func(l *leaver) func() string {
		a := l.h.asks("closed")
		p := l.post("/device", "user_code", a.text("user_code")).must(l.h.t, 200, "Allow this device?")
		return func() string { return turned(l.get(p.path), "Allow this device?", a.text("user_code")) }
	}},
	{"typing a device's code", []string{"POST /device"}, nil, func(l *leaver) func() string {
		a := l.h.asks("closed")
		return func() string {
			return turned(l.post("/device", "user_code", a.text("user_code")), "Allow this device?")
		}
	}},
	{"an assertion", []string{GrantJWTBearer}, nil, func(l *leaver) func() string {
		assertion := l.assertion()
		return func() string { return shut(l.h.vouch("closed", assertion)) }
	}},
	{"introspection", []string{"POST /oauth2/introspect"}, nil, func(l *leaver) func() string {
		all := l.everyToken()
		for name, one := range all {
			if !l.h.active(one[0], one[1]) {
				l.h.t.Fatalf("the token of %s is dead before the fall", name)
			}
		}
		return func() string {
			var leaks []string
			for name, one := range all {
				if l.h.active(one[0], one[1]) {
					leaks = append(leaks, name)
				}
			}
			return strings.Join(leaks, ", ")
		}
	}},
	{"userinfo", []string{"GET /userinfo", "POST /userinfo"}, nil, func(l *leaver) func() string {
		return l.every("/userinfo", "openid")
	}},
	{"the tiles", []string{"GET /api/applications"}, nil, func(l *leaver) func() string {
		return l.every("/api/applications", "applications")
	}},
	{"the directory", []string{"GET /api/people"}, nil, func(l *leaver) func() string {
		return l.every("/api/people?q=dup", "people")
	}},
	{"single sign-on", []string{"GET /oauth2/authorize"}, nil, func(l *leaver) func() string {
		l.code("closed", "openid") // a session that opens it
		return func() string {
			return turned(l.get("/oauth2/authorize?" + request("closed").Encode()))
		}
	}},
	{"single sign-on without a page", []string{"GET /oauth2/authorize"}, nil, func(l *leaver) func() string {
		l.code("closed", "openid")
		return func() string {
			return turned(l.get("/oauth2/authorize?" + request("closed", "prompt", "none").Encode()))
		}
	}},
	{"a request pushed before", []string{"GET /oauth2/authorize"}, nil, func(l *leaver) func() string {
		pushed := l.h.post("/oauth2/par", "closed", request("closed", "client_id", "-"))
		l.h.must(pushed, 201)
		return func() string {
			return turned(l.get("/oauth2/authorize?" + url.Values{"client_id": {"closed"}, "request_uri": {pushed.text("request_uri")}}.Encode()))
		}
	}},
	{"answering about consent", []string{"POST /oauth2/consent"}, nil, func(l *leaver) func() string {
		p := l.get("/oauth2/authorize?" + request("asks").Encode())
		u, _ := url.Parse(p.path)
		id := u.Query().Get("request")
		if p.status != 200 || id == "" {
			l.h.t.Fatalf("no question: %d %s", p.status, p.path)
		}
		return func() string { return turned(l.post("/oauth2/consent", "request", id, "answer", "allow")) }
	}},
	{"connected applications", []string{"GET /account/applications"}, []string{"group"}, func(l *leaver) func() string {
		l.tokens("closed", "openid offline_access")
		l.get("/account/applications").must(l.h.t, 200, "The closed tool")
		return func() string { return turned(l.get("/account/applications"), "The closed tool") }
	}},
	{"an application's own credentials", []string{GrantClientCredentials}, []string{"disabled", "group", "gone", "everywhere", "locked", "the lock alone"}, func(l *leaver) func() string {
		return func() string { // it acts for itself, whoever has left
			return shut(l.h.post("/oauth2/token", "robot", url.Values{"grant_type": {GrantClientCredentials}, "scope": {"stock"}}))
		}
	}},
}

// every asks a resource of the provider with each access token that is for it.
func (l *leaver) every(path, scope string) func() string {
	all := l.everyToken()
	for _, other := range []string{"exchange", "exchanged JWT", "refresh token"} {
		delete(all, other)
	}
	ask := func(token string) int { return l.h.get(path, "Authorization", "Bearer "+token).status }
	for name, one := range all {
		if ask(one[1]) != 200 {
			l.h.t.Fatalf("the token of %s opens no %s before the fall (%s)", name, path, scope)
		}
	}
	return func() string {
		var leaks []string
		for name, one := range all {
			if status := ask(one[1]); status != 401 {
				leaks = append(leaks, fmt.Sprintf("%s: %d", name, status))
			}
		}
		return strings.Join(leaks, ", ")
	}
}

// falls are the reasons.
var falls = map[string]func(l *leaver){
	"disabled": func(l *leaver) { l.h.people.change(l.id, func(p *directory.Person) { p.Disabled = true }) },
	"group":    func(l *leaver) { l.h.people.change(l.id, func(p *directory.Person) { p.Groups = []string{"others"} }) },
	"gone": func(l *leaver) {
		l.h.people.mu.Lock()
		defer l.h.people.mu.Unlock()
		delete(l.h.people.byID, l.id)
	},
	"everywhere": func(l *leaver) {
		if err := l.h.signin.SignOutEverywhere(l.h.t.Context(), audit.System("test"), l.id); err != nil {
			l.h.t.Fatal(err)
		}
	},
	"locked": func(l *leaver) {
		if err := l.h.signin.Lock(l.h.t.Context(), audit.System("test"), l.id, "stolen"); err != nil {
			l.h.t.Fatal(err)
		}
	},
	// Without all that a lock ends: the gate itself must say no, at each way.
	"the lock alone": func(l *leaver) {
		_, err := l.h.db.Exec(l.h.t.Context(), "INSERT INTO signin_lock (person, since, way, actor_kind, actor, actor_name, reason) VALUES ($1, 1, 'helper', '', '', '', '')", l.id)
		if err != nil {
			l.h.t.Fatal(err)
		}
	},
}

// nobodysRoutes concern nobody who could have left, or only end something.
var nobodysRoutes = map[string]string{
	"GET /.well-known/openid-configuration":       "public",
	"GET /.well-known/oauth-authorization-server": "public",
	"GET /jwks":                         "public",
	"POST /oauth2/authorize":            "sends on as a GET",
	"GET /oauth2/consent":               "shows the person's own question; answering is in the table",
	"POST /account/applications":        "takes back, gives nothing",
	"GET /oauth2/logout":                "ends",
	"POST /oauth2/logout":               "ends",
	"POST /oauth2/logout/confirm":       "ends",
	"GET /device":                       "an empty field",
	"POST /oauth2/device_authorization": "no person yet; allowing is in the table",
	"POST /oauth2/revoke":               "ends",
	"POST /oauth2/par":                  "no person yet; using it is in the table",
	"POST /oauth2/register":             "an application's",
	"GET /oauth2/register/{id}":         "an application's",
	"PUT /oauth2/register/{id}":         "an application's",
	"DELETE /oauth2/register/{id}":      "an application's",
}

// routeList is a Mux that notes what is mounted.
type routeList []string

func (r *routeList) Handle(pattern string, _ http.Handler) { *r = append(*r, pattern) }

func TestEveryGrantAndEveryRouteStandsInTheTableOfLeavers(t *testing.T) {
	w := onOne(t)
	var routes routeList
	w.p.Mount(&routes, web.NewSite(web.SiteConfig{Kind: "provider"}))
	var covered []string
	for _, one := range ways {
		covered = append(covered, one.covers...)
	}
	for _, grant := range grantTypes {
		if !slices.Contains(covered, grant) {
			t.Errorf("the grant %s has no row", grant)
		}
	}
	for _, route := range routes {
		if nobodysRoutes[route] == "" && !slices.Contains(covered, route) && !strings.HasPrefix(route, "OPTIONS ") {
			t.Errorf("%s has no row, and is not said to concern nobody", route)
		}
		if nobodysRoutes[route] != "" && slices.Contains(covered, route) {
			t.Errorf("%s stands in both lists", route)
		}
	}
	for route := range nobodysRoutes {
		if !slices.Contains(routes, route) {
			t.Errorf("%s is no route any more", route)
		}
	}
	for _, one := range ways {
		for _, c := range one.covers {
			if !slices.Contains(grantTypes, c) && !slices.Contains(routes, c) {
				t.Errorf("%s covers %s, which is neither a grant nor a route", one.name, c)
			}
		}
	}
}

func TestRow07And08WhoeverHasLeftGoesOnByNoWay(t *testing.T) {
	for reason, fall := range falls {
		t.Run(reason, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				h := newHouse(t, d)
				h.registerClosed()
				tries := make([]func() string, len(ways))
				leavers := make([]*leaver, len(ways))
				for i, one := range ways {
					leavers[i] = h.leaver(fmt.Sprintf("person%d", i))
					tries[i] = one.try(leavers[i])
				}
				h.clock.pass(2 * time.Second)
				for _, l := range leavers {
					fall(l)
				}
				for i, one := range ways {
					leak := tries[i]()
					if stays := slices.Contains(one.open, reason); stays && leak == "" {
						t.Errorf("%s: shut, though %s is none of its affair", one.name, reason)
					} else if !stays && leak != "" {
						t.Errorf("%s: goes on: %s", one.name, leak)
					}
				}
			})
		})
	}
}

// leaver makes a person of the group who is signed in.
func (h *house) leaver(login string) *leaver {
	id := "leaver-" + login
	h.people.mu.Lock()
	h.people.byID[id] = directory.Person{ID: id, Login: login, DisplayName: "Person " + login, Mail: login + "@academie.test", Language: "en", Groups: []string{"closed"}}
	h.people.mu.Unlock()
	return &leaver{h, id, login, h.guest().signsIn(login)}
}

// registerClosed adds the applications of the table: only for the group, with
// every grant there is, with opaque tokens and with JWTs; one that asks for consent; a
// resource that may exchange what it is given.
func (h *house) registerClosed() {
	for id, format := range map[string]string{"closed": FormatOpaque, "closed-jwt": FormatJWT} {
		h.register(tool(func(c *Client) {
			c.ID, c.Name, c.Home, c.Groups, c.TokenFormat, c.Grants = id, map[string]string{"en": "The closed tool"}, "", []string{"closed"}, format, grantTypes
			c.ExchangeTo, c.AssertionIssuers = []string{"imap", "api"}, []AssertionIssuer{{Issuer: kiosks, JWKS: jwksOfTests(ES256)}}
		}))
	}
	h.register(tool(func(c *Client) {
		c.ID, c.Home, c.Groups, c.Consent = "asks", "", []string{"closed"}, ConsentAlways
	}))
	h.register(tool(func(c *Client) {
		c.ID, c.Home, c.RedirectURIs, c.PostLogoutURIs, c.Audience, c.Scopes, c.Grants, c.ExchangeTo = "api", "", nil, nil, "api", []string{"mail"}, []string{GrantExchange}, []string{"imap"}
	}))
}
