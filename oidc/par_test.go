package oidc

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/signin"
)

// push sends a request ahead, as the client by Basic when one is named.
func (w *world) push(client string, form url.Values) answer {
	w.t.Helper()
	return w.post("/oauth2/par", client, form)
}

// pushed is the request_uri of a request that must be accepted.
func (w *world) pushed(client string, change ...string) string {
	w.t.Helper()
	a := w.push(client, request(client, change...))
	if a.status != http.StatusCreated || !strings.HasPrefix(a.text("request_uri"), pushedPrefix) {
		w.t.Fatalf("push: %d %s", a.status, a.body)
	}
	return a.text("request_uri")
}

// byReference is what the browser carries of a pushed request.
func byReference(client, uri string, change ...string) url.Values {
	return pairs(url.Values{"client_id": {client}, "request_uri": {uri}}, change...)
}

func (w *world) pushedRows() (n int64) {
	w.t.Helper()
	if err := w.db.QueryRow(w.t.Context(), "SELECT COUNT(*) FROM oidc_pushed").Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestAPushedRequestIsTheRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.push("tool", request("tool", "response_mode", modeFragment, "max_age", "60", "login_hint", "mdupont", "unknown", "x"))
		if n, _ := a.json["expires_in"].(float64); a.status != http.StatusCreated || n != 90 || len(a.text("request_uri")) < len(pushedPrefix)+43 || a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		var kept string
		if err := w.db.QueryRow(t.Context(), "SELECT form FROM oidc_pushed").Scan(&kept); err != nil || strings.Contains(kept, "unknown") || strings.Contains(kept, secret1) {
			t.Errorf("kept: %s %v", kept, err)
		}
		// What stands beside the reference counts for nothing.
		a = w.authorize(byReference("tool", a.text("request_uri"), "redirect_uri", "https://evil.test/", "scope", "openid people", "state", "other", "response_mode", modeQuery, "max_age", "x"))
		if !w.deliveredBy(a, modeFragment, back) || a.location().Get("state") != "st-1" {
			t.Fatalf("%d %s", a.status, a.header.Get("Location"))
		}
		if w.door.last.MaxAge == nil || *w.door.last.MaxAge != 60 || w.door.last.LoginHint != "mdupont" {
			t.Errorf("reaches signin as %+v", w.door.last)
		}
		tokens := w.redeem("tool", a.location().Get("code"))
		w.must(tokens, 200)
		if tokens.text("scope") != "openid profile email groups" {
			t.Errorf("scope %q", tokens.text("scope"))
		}
		if w.pushedRows() != 0 {
			t.Error("the request is still kept")
		}
		// A public client pushes by its name; one that authenticates need not repeat its own.
		form := request("spa")
		w.must(w.push("", form), http.StatusCreated)
		w.must(w.push("tool", request("tool", "client_id", "-")), http.StatusCreated)
	})
}

func TestT05APushedRequestIsTakenOnceAndOutlivesTheSignIn(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		result := w.door.result
		w.door.result = nil // nobody is signed in: the request waits in a flow
		uri := w.pushed("tool", "claims", `{"id_token":{"email":null}}`, "scope", "openid")
		a := w.authorize(byReference("tool", uri))
		if a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), "/signin") {
			t.Fatalf("%d %s", a.status, a.header.Get("Location"))
		}
		w.notRedirected(w.authorize(byReference("tool", uri)))
		raw := string(w.door.last.Raw)
		if strings.Contains(raw, "request_uri") {
			t.Errorf("the flow would take the pushed request again: %s", raw)
		}
		w.clock.pass(10 * time.Minute) // the person looks for the telephone
		for range 2 {                  // and comes back twice
			rec := httptest.NewRecorder()
			if err := w.p.Finisher().Finish(rec, httptest.NewRequest(http.MethodPost, "/signin", nil), []byte(raw), *result); err != nil {
				t.Fatal(err)
			}
			to, _ := url.Parse(rec.Header().Get("Location"))
			tokens := w.redeem("tool", to.Query().Get("code"))
			w.must(tokens, 200)
			if w.idClaims("tool", tokens.text("id_token"))["email"] == nil {
				t.Error("claims was lost on the way")
			}
		}
	})
}

func TestT05AnotherClientCanNeitherUseNorBurnAPushedRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		uri := w.pushed("tool")
		w.notRedirected(w.authorize(byReference("other", uri)))
		a := w.authorize(byReference("other", uri, "redirect_uri", back))
		w.redirectedWith(a, "invalid_request_uri")
		w.notRedirected(w.authorize(byReference("nobody", uri)))
		w.notRedirected(w.authorize(url.Values{"request_uri": {uri}}))
		for _, wrong := range []string{uri + "x", uri[:len(uri)-1], strings.ToUpper(uri), pushedPrefix, strings.Replace(uri, "urn:", "URN:", 1), uri + "#", " " + uri} {
			w.notRedirected(w.authorize(byReference("tool", wrong)))
		}
		if w.authorize(byReference("tool", uri)).location().Get("code") == "" {
			t.Error("the owner has lost the request")
		}
	})
}

func TestT05APushedRequestExpires(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		good, late := w.pushed("tool"), w.pushed("tool")
		w.clock.pass(pushedLife - time.Second)
		if w.authorize(byReference("tool", good)).location().Get("code") == "" {
			t.Error("expired a second early")
		}
		w.clock.pass(time.Second)
		w.notRedirected(w.authorize(byReference("tool", late)))
		if n, err := w.p.Sweep(t.Context()); err != nil || n == 0 || w.pushedRows() != 0 {
			t.Errorf("swept %d, %v, %d left", n, err, w.pushedRows())
		}
	})
}

func TestAPushedRequestIsTakenByOneOfManyBrowsers(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for range 5 {
			uri := w.pushed("tool")
			var won atomic.Int32
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if w.authorize(byReference("tool", uri)).location().Get("code") != "" {
						won.Add(1)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Fatalf("%d codes of one pushed request", won.Load())
			}
		}
	})
}

func TestAPushIsRefusedAsTheRequestWouldBe(t *testing.T) {
	w := onOne(t)
	for _, wrong := range wrongs {
		a := w.push("tool", request("tool", wrong.change...))
		w.refusedWith(a, wrong.code)
		if a.status != http.StatusBadRequest || a.text("error_description") == "" {
			t.Errorf("%v: %d %s", wrong.change, a.status, a.body)
		}
	}
	for _, uri := range append([]string{"-"}, hostileRedirects...) {
		w.refusedWith(w.push("tool", request("tool", "redirect_uri", uri)), "invalid_request")
	}
	for code, a := range map[string]answer{
		"invalid_request":           w.push("tool", request("tool", "request_uri", w.pushed("tool"))),
		"invalid_scope":             w.push("tool", request("tool", "scope", "reports")),
		"invalid_client":            w.push("tool:wrong", request("tool")),
		"unauthorized_client":       w.push("imap", request("imap")),
		"unsupported_response_type": w.push("tool", request("tool", "response_type", "code id_token")),
		"invalid_request_object":    w.push("tool", request("tool", "request", "a.b.c")),
	} {
		w.refusedWith(a, code)
	}
	w.refusedWith(w.push("", request("tool")), "invalid_client") // a confidential client's name is no proof
	w.refusedWith(w.push("tool", request("other")), "invalid_request")
	w.refusedWith(w.push("tool", request("tool", "client_secret", secret1)), "invalid_request") // two ways of authenticating
	for name := range request("tool") {
		if name == "client_id" {
			continue
		}
		form := request("tool")
		form.Add(name, form.Get(name))
		w.refusedWith(w.push("tool", form), "invalid_request")
	}
	w.refusedWith(w.push("tool", request("tool", "state", strings.Repeat("s", keptMost))), "invalid_request")
	w.must(w.get("/oauth2/par?"+request("tool").Encode()), http.StatusMethodNotAllowed)
	if w.pushedRows() != 1 {
		t.Errorf("%d requests are kept", w.pushedRows())
	}
	// A long state fits, and comes back whole.
	state := strings.Repeat("s", 14<<10)
	if got := w.authorize(byReference("tool", w.pushed("tool", "state", state))).location().Get("state"); got != state {
		t.Errorf("a state of %d comes back as %d", len(state), len(got))
	}
}

func TestAnApplicationMayHaveToPush(t *testing.T) {
	w := onOne(t)
	w.change("tool", func(c *Client) { c.PARRequired = true })
	w.redirectedWith(w.authorize(request("tool")), "invalid_request")
	w.redirectedWith(w.authorize(request("tool", "prompt", "none")), "invalid_request")
	if w.door.last.Protocol != "" {
		t.Error("a request that was not pushed reached signin")
	}
	if w.authorize(byReference("tool", w.pushed("tool"))).location().Get("code") == "" {
		t.Error("a pushed request is refused")
	}
	w.code("other") // the rule is per application
}

func TestAPushedRequestIsReadAgainWhenTheBrowserComes(t *testing.T) {
	w := onOne(t)
	uri := w.pushed("tool", "scope", "openid people")
	w.change("tool", func(c *Client) { c.Scopes = []string{"openid"} })
	w.redirectedWith(w.authorize(byReference("tool", uri)), "invalid_scope")
	w.door.result = nil
	w.redirectedWith(w.authorize(byReference("tool", w.pushed("tool", "scope", "openid", "prompt", "none", "response_mode", modeFormPost))), signin.LoginRequired)
}

// FuzzPAR holds what the endpoint promises for any body: 201 with a reference
// that works once, or an error of the protocol.
func FuzzPAR(f *testing.F) {
	w := onOne(f)
	for _, form := range []url.Values{request("spa"), request("spa", "claims", `{"id_token":{"acr":null}}`), request("spa", "request", "a.b.c"), request("spa", "request_uri", "urn:x"), request("spa", "prompt", "none login"), request("nobody"), {}} {
		f.Add(form.Encode())
	}
	f.Add(request("spa").Encode() + "&state=2")
	f.Add("client_id=spa&client_id=spa")
	f.Add("%zz=1&;;&=&client_id=spa")
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/par", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		uri, err := w.p.push(r)
		if err != nil {
			if code, _, status := protocolError(err); code == "" || status >= 500 {
				t.Fatalf("%d %s: %v", status, code, err)
			}
			return
		}
		id := r.PostForm.Get("client_id")
		plain, err := w.p.resolve(t.Context(), byReference(id, uri))
		if err != nil {
			t.Fatalf("accepted and lost: %v", err)
		}
		if _, err := w.p.parseAuthorize(t.Context(), plain); err != nil {
			t.Fatalf("read twice, it differs: %v", err)
		}
		if _, err := w.p.resolve(t.Context(), byReference(id, uri)); err == nil {
			t.Fatal("taken twice")
		}
	})
}

// pushCode is the error code that a refusal of the entry has; "" for any other error.
func pushCode(err error) string {
	code, _, status := protocolError(pushError(err))
	if status >= 500 {
		return ""
	}
	return code
}
