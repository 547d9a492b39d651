package portal

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

const scheduled = "/mail/scheduled?done=later"

func TestAMandateOutlivesTheSession(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := newRig(t, d, newOP(t))
		b := r.browser()
		b.signIn("mdupont", "/mail/who")
		sent := b.get("/mail/later")
		if sent.status != http.StatusSeeOther || !strings.Contains(sent.location, "prompt=none") {
			t.Fatalf("%d %q", sent.status, sent.location)
		}
		back := b.get(r.op.authorize(t, sent.location, "mdupont"))
		if back.status != http.StatusSeeOther || back.location != scheduled {
			t.Fatalf("%d %q %s", back.status, back.location, back.body)
		}
		want(t, b.get("/mail/who"), 200, "who=mdupont")
		if again := b.get("/mail/later"); again.location != scheduled {
			t.Fatalf("a second mandate is asked for: %q", again.location)
		}
		b.do(http.MethodPost, "/logout", map[string]string{"Sec-Fetch-Site": "same-origin"})
		if b.in() {
			t.Fatal("the mandate keeps the person signed in")
		}
		r.later(40 * 24 * time.Hour)
		theirs, err := r.portal.Of(t.Context(), "sub-of-mdupont")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.portal.TokenFor(theirs, "imap"); err != nil {
			t.Fatal(err)
		}
		revoked := r.op.count("/revoke")
		if err := r.portal.EndMandates(t.Context(), "sub-of-mdupont"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.portal.Of(t.Context(), "sub-of-mdupont"); !errors.Is(err, ErrSignedOut) {
			t.Fatalf("a mandate given back still works: %v", err)
		}
		r.portal.Close()
		if r.op.count("/revoke") != revoked+1 {
			t.Fatal("the grant was not given back")
		}
	})
}

func TestNoMandateOfAnotherPersonAndNoneByForce(t *testing.T) {
	r, b := signedInRig(t)
	sent := b.get("/mail/later")
	u, _ := url.Parse(sent.location)
	refused := b.get(u.Query().Get("redirect_uri") + "?error=login_required&iss=" + url.QueryEscape(r.op.URL) + "&state=" + url.QueryEscape(u.Query().Get("state")))
	if refused.location != scheduled+"&mandate=none" {
		t.Fatalf("%d %q", refused.status, refused.location)
	}
	sent = b.get("/mail/later")
	other := b.get(r.op.authorize(t, sent.location, "pmartin"))
	if other.location != scheduled+"&mandate=none" {
		t.Fatalf("%d %q", other.status, other.location)
	}
	want(t, b.get("/mail/who"), 200, "who=mdupont")
	if _, err := r.portal.Of(t.Context(), "sub-of-pmartin"); !errors.Is(err, ErrSignedOut) {
		t.Fatalf("a mandate of somebody else: %v", err)
	}
}

func TestAMandateEndsWithAllOfAPerson(t *testing.T) {
	r, b := signedInRig(t)
	b.get(r.op.authorize(t, b.get("/mail/later").location, "mdupont"))
	if status := r.tell(url.Values{"logout_token": {r.op.logoutToken(func(c map[string]any) { delete(c, "sid") })}}); status != http.StatusOK {
		t.Fatal(status)
	}
	if _, err := r.portal.Of(t.Context(), "sub-of-mdupont"); !errors.Is(err, ErrSignedOut) {
		t.Fatalf("signed out everywhere, and the mandate works: %v", err)
	}

	r, b = signedInRig(t)
	b.get(r.op.authorize(t, b.get("/mail/later").location, "mdupont"))
	r.op.kill("mdupont") // nobody tells: the provider is asked
	r.later(time.Minute)
	if _, err := r.portal.Of(t.Context(), "sub-of-mdupont"); !errors.Is(err, ErrSignedOut) {
		t.Fatalf("its grant has ended, and the mandate works: %v", err)
	}
}
