package oidc

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
	"beffroi/internal/session"
)

const (
	stranger = "https://stranger.example.test/callback"
	sister   = "https://stranger.example.test/sister"
)

// pairwise adds three pairwise applications, two of one sector.
func (w *world) pairwise() {
	for id, redirect := range map[string]string{"stranger": stranger, "sister": sister, "apart": "https://apart.example.test/callback"} {
		w.register(tool(func(c *Client) {
			c.ID, c.RedirectURIs, c.SubjectType, c.Home = id, []string{redirect}, SubjectPairwise, ""
		}))
	}
}

func (w *world) tokensAt(client, redirect string, change ...string) answer {
	w.t.Helper()
	a := w.redeem(client, w.code(client, append(change, "redirect_uri", redirect)...), "redirect_uri", redirect)
	w.must(a, 200)
	return a
}

func TestAPairwiseApplicationNeverLearnsAnotherSectorsName(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.pairwise()
		a := w.tokensAt("stranger", stranger, "scope", "openid")
		sub, _ := w.idClaims("stranger", a.text("id_token"))["sub"].(string)
		if len(sub) != 43 || sub != w.p.subject(w.client("stranger"), marie) {
			t.Fatalf("sub %q", sub)
		}
		if got := w.userinfo(a.text("access_token")).text("sub"); got != sub {
			t.Errorf("userinfo says %q", got)
		}
		searching := w.tokensAt("stranger", stranger, "scope", "people")
		if found := w.get("/api/people?q=dupont", "Authorization", "Bearer "+searching.text("access_token")); strings.Contains(found.body, marie) || !strings.Contains(found.body, sub) {
			t.Errorf("a search says %s", found.body)
		}
		i := w.introspect("stranger", a.text("access_token"))
		if i.text("sub") != sub {
			t.Errorf("introspection says %q", i.text("sub"))
		}
		if same := w.idClaims("sister", w.tokensAt("sister", sister).text("id_token"))["sub"]; same != sub {
			t.Errorf("one sector has two names: %v", same)
		}
		other := w.idClaims("apart", w.tokensAt("apart", "https://apart.example.test/callback").text("id_token"))["sub"]
		if other == sub || other == marie {
			t.Errorf("two sectors share a name: %v", other)
		}
		w.signIn(paul, "sid-2")
		if second := w.idClaims("stranger", w.tokensAt("stranger", stranger).text("id_token"))["sub"]; second == sub {
			t.Error("two persons share a name")
		}
	})
}

func TestAPairwiseHintFindsItsPerson(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.pairwise()
		idToken := w.tokensAt("stranger", stranger).text("id_token")
		again := func() answer {
			return w.authorize(request("stranger", "redirect_uri", stranger, "id_token_hint", idToken, "prompt", "none"))
		}
		if a := again(); a.location().Get("code") == "" {
			t.Fatalf("%s", a.header.Get("Location"))
		}
		w.signIn(paul, "sid-2")
		w.redirectedWith(again(), "login_required")
	})
}

func TestAPairwiseHintSignsItsPersonOut(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.pairwise()
		query := url.Values{"id_token_hint": {w.tokensAt("stranger", stranger).text("id_token")}, "post_logout_redirect_uri": {bye}}.Encode()
		for person, want := range map[string]int{paul: http.StatusOK, marie: http.StatusSeeOther} { // paul is asked, marie's hint is hers
			r := httptest.NewRequest(http.MethodGet, w.http.URL+"/oauth2/logout?"+query, nil)
			rec := httptest.NewRecorder()
			if err := w.p.logout(rec, r.WithContext(session.With(r.Context(), &session.Session{Person: person, SID: "sid-1"}))); err != nil || rec.Code != want {
				t.Errorf("%s: %d %v", person, rec.Code, err)
			}
		}
	})
}

func TestPairwiseNeedsOneSector(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Client)
		wrong  string
	}{
		"two hosts": {func(c *Client) {}, "subject_type"},
		"an own scheme": {func(c *Client) {
			c.Public, c.SecretHashes, c.Grants, c.ExchangeTo, c.RedirectURIs = true, nil, nil, nil, []string{"fr.example.app:/back"}
		}, "subject_type"},
		"one host":            {func(c *Client) { c.RedirectURIs = c.RedirectURIs[:1] }, ""},
		"a sector":            {func(c *Client) { c.SectorURI = "https://sector.example.test/list.json" }, ""},
		"a sector over http":  {func(c *Client) { c.SectorURI = "http://sector.example.test/list.json" }, "sector_identifier_uri"},
		"a sector of no host": {func(c *Client) { c.SectorURI = "https:///list.json" }, "sector_identifier_uri"},
	} {
		one := tool(func(one *Client) { one.SubjectType = SubjectPairwise }, c.change)
		errs := one.Validate()
		if c.wrong == "" && len(errs) > 0 || c.wrong != "" && (len(errs) == 0 || !strings.Contains(errs[0].Error(), c.wrong)) {
			t.Errorf("%s: %v", name, errs)
		}
	}
}

func TestReplicasStartingTogetherAgreeOnTheSalt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		salts := make([]string, 4)
		var wg sync.WaitGroup
		for i := range salts {
			wg.Go(func() {
				salt, err := openSalt(t.Context(), d, testSealer, time.Now)
				if err != nil {
					t.Error(err)
				}
				salts[i] = string(salt)
			})
		}
		wg.Wait()
		for _, salt := range salts {
			if len(salt) != 32 || salt != salts[0] {
				t.Fatal("the replicas differ")
			}
		}
		if _, err := openSalt(t.Context(), d, secret.NewSealer([32]byte{8}), time.Now); err == nil {
			t.Error("another sealing key opens it")
		}
	})
}
