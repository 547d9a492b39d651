package portal

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

func TestASharedComputerIsLeftAlone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := newRig(t, d, newOP(t))
		b := r.browser()
		b.signIn("mdupont", "/mail/who")
		if p := b.get("/"); strings.Contains(p.body, "data-lock") {
			t.Fatal("every computer is shared")
		}
		r.setShared(t, b, "1")
		want(t, b.get("/"), 200, `data-lock="300"`)
		// each visit counts; the pages that ask by themselves do not
		for range 4 {
			r.later(4 * time.Minute)
			want(t, b.get("/mail/who"), 200, "mdupont")
		}
		r.later(4 * time.Minute)
		b.get("/mail/events")
		r.later(3 * time.Minute)
		// what is no page does not let the next one in by the provider's session
		if sent := b.do(http.MethodPost, "/mail/send", map[string]string{"Sec-Fetch-Site": "same-origin"}); sent.status != http.StatusUnauthorized {
			t.Fatal(sent.status)
		}
		if part := b.do(http.MethodGet, "/mail/who", map[string]string{"HX-Request": "true"}); part.status != http.StatusUnauthorized {
			t.Fatal(part.status)
		}
		over := b.get("/login?next=/mail/who")
		if over.status != http.StatusSeeOther || !strings.HasPrefix(over.location, r.op.URL) || !strings.Contains(over.location, "id_token_hint") {
			t.Fatalf("%d %s: not signed out at the provider", over.status, over.location)
		}
		if !strings.Contains(over.header.Get("Clear-Site-Data"), "storage") {
			t.Fatal("the browser is told to keep all")
		}
		if p := b.get("/mail/who"); p.status != http.StatusSeeOther {
			t.Fatal("the session goes on")
		}
		var n int
		if err := d.QueryRow(t.Context(), "SELECT COUNT(*) FROM portal_shared").Scan(&n); err != nil || n != 0 {
			t.Fatal(n, err)
		}
	})
}

func TestASharedComputerIsOnesOwnAgain(t *testing.T) {
	r, b := signedInRig(t)
	r.setShared(t, b, "1")
	r.setShared(t, b, "0")
	r.later(30 * time.Minute)
	want(t, b.get("/mail/who"), 200, "mdupont")
	if p := b.get("/"); strings.Contains(p.body, "data-lock") {
		t.Fatal("still shared")
	}
}

// setShared sends the form of the menu.
func (r *rig) setShared(t *testing.T, b *browser, on string) {
	t.Helper()
	req, _ := http.NewRequest(http.MethodPost, r.web.URL+"/shared", strings.NewReader("on="+on+"&next=/"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		t.Fatal(res.StatusCode)
	}
}
