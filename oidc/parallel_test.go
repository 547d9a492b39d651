package oidc

import (
	"fmt"
	"net/url"
	"sync"
	"testing"

	"beffroi/directory"
)

// Many at once: show 5 of the provider's issue for codes (refreshes stand in
// theft_test.go, device polls in device_test.go), and people mixed up.

func TestTwoHundredParallelRedemptionsHaveOneWinner(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		code := w.code("tool", "scope", "openid offline_access")
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []answer
		for range 200 {
			wg.Go(func() {
				a := w.redeem("tool", code)
				mu.Lock()
				defer mu.Unlock()
				if a.status == 200 {
					won = append(won, a)
				} else if a.text("error") != "invalid_grant" {
					t.Errorf("a loser hears %d %s", a.status, a.body)
				}
			})
		}
		wg.Wait()
		var tokens, living int
		if err := w.db.QueryRow(t.Context(), "SELECT (SELECT COUNT(*) FROM oidc_token), (SELECT COUNT(*) FROM oidc_grant WHERE ended IS NULL)").Scan(&tokens, &living); err != nil {
			t.Fatal(err)
		}
		if len(won) != 1 || tokens != 1 {
			t.Fatalf("%d winners, %d tokens", len(won), tokens)
		}
		// Unlike a device's polls, a code sent twice is a theft: nobody keeps anything.
		if living != 0 || w.active("tool", won[0].text("access_token")) || w.active("tool", won[0].text("refresh_token")) {
			t.Error("the code was used twice and its tokens live on")
		}
	})
}

// Twenty people in forty browsers at once, from the first request of a fresh
// provider: whatever each is answered is about whoever signed in in that browser.
func TestRow32NobodyIsTakenForSomebodyElseUnderLoad(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		const people = 20
		for i := range people {
			id := fmt.Sprintf("mixed-%d", i)
			h.people.mu.Lock()
			h.people.byID[id] = directory.Person{ID: id, Login: "login-" + id, DisplayName: "Name of " + id, Mail: id + "@academie.test", Language: "en", Groups: []string{"of-" + id}}
			h.people.mu.Unlock()
		}
		var wg sync.WaitGroup
		for i := range 2 * people {
			wg.Go(func() {
				id := fmt.Sprintf("mixed-%d", i%people)
				about := func(what string, got any, want string) {
					if got != want {
						t.Errorf("in the browser of %s, %s is of %v", id, what, got)
					}
				}
				browser := h.guest().signsIn("login-" + id)
				for range 3 {
					code := browser.get("/oauth2/authorize?" + request("tool", "scope", "openid profile email groups mail offline_access").Encode()).left.Get("code")
					a := h.redeem("tool", code)
					if a.status != 200 {
						t.Errorf("%s: %d %s", id, a.status, a.body)
						return
					}
					claims := h.idClaims("tool", a.text("id_token"))
					about("the ID token", claims["sub"], id)
					about("its mail", claims["email"], id+"@academie.test")
					about("its group", claims["groups_csv"], "of-"+id)
					about("userinfo", h.userinfo(a.text("access_token")).text("sub"), id)
					b := h.refresh("tool", a.text("refresh_token"))
					about("what introspection says", h.introspect("tool", b.text("access_token")).text("username"), "login-"+id)
					about("what the resource sees", h.introspect("imap", h.exchange("tool", b.text("access_token")).text("access_token")).text("sub"), id)
					about("the account page", browser.get("/account").contains("Name of "+id), "yes")
					d := h.asks("tool")
					browser.confirms(d, "allow")
					about("a device", h.idClaims("tool", h.polls("tool", d.text("device_code")).text("id_token"))["sub"], id)
				}
			})
		}
		wg.Wait()
	})
}

func TestRow11OfflineAccessThatIsTakenAwayEndsWithTheSession(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		browser := h.guest().signsIn("mdupont")
		a := h.redeem("tool", browser.get("/oauth2/authorize?"+request("tool", "scope", "openid mail offline_access").Encode()).left.Get("code"))
		h.must(a, 200)
		d := h.asks("tool", "scope", "openid offline_access")
		browser.confirms(d, "allow")
		b := h.polls("tool", d.text("device_code"))
		h.must(b, 200)
		scopes := h.client("tool").Scopes
		h.client("tool").Scopes = only(scopes, []string{"openid", "profile", "mail"})
		a, b = h.refresh("tool", a.text("refresh_token")), h.refresh("tool", b.text("refresh_token"))
		h.must(a, 200) // the session lives
		h.must(b, 200)
		if a.text("scope") != "openid mail" {
			t.Errorf("scope %q", a.text("scope"))
		}
		browser.post("/logout").must(t, 200)
		h.refusedWith(h.exchange("tool", a.text("access_token")), "invalid_grant")
		h.refusedWith(h.refresh("tool", a.text("refresh_token")), "invalid_grant")
		h.refusedWith(h.refresh("tool", b.text("refresh_token")), "invalid_grant")
		h.client("tool").Scopes = scopes // given back, it is not forgotten
		h.must(h.refresh("tool", a.text("refresh_token")), 200)
		h.must(h.exchange("tool", a.text("access_token")), 200)

		// A scope that is taken away is not exchanged either, whatever the token says.
		h.client("tool").Scopes = []string{"openid", "offline_access"}
		h.refusedWith(h.exchange("tool", a.text("access_token")), "invalid_scope")
		h.client("tool").Grants = []string{GrantCode}
		h.refusedWith(h.post("/oauth2/token", "tool", url.Values{"grant_type": {GrantRefresh}, "refresh_token": {b.text("refresh_token")}}), "unauthorized_client")
		h.client("tool").Scopes, h.client("tool").Grants = scopes, grantTypes
	})
}
