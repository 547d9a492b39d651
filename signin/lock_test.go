package signin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/i18n"
)

// isLocked holds the gate's answer for a person against what is expected.
func (g *rig) isLocked(person string, expected bool) {
	g.t.Helper()
	_, err := g.service.Gate().Admit(context.Background(), person, Application{ID: "open"}, "")
	if no := Refused(err); (no != nil && no.Reason == Locked) != expected || !expected && err != nil {
		g.t.Fatalf("the gate says %v to %s; locked expected: %v", err, person, expected)
	}
	if since, err := g.service.LockedSince(context.Background(), person); err != nil || since.IsZero() == expected {
		g.t.Fatalf("locked since %v, %v", since, err)
	}
}

func TestLockedAccountEntersNowhereUntilTheHelpdeskOpensIt(t *testing.T) {
	each(t, Config{HelpdeskContact: "03 20 00 00 00"}, func(t *testing.T, g *rig) {
		ctx := context.Background()
		b, other := g.browser(), g.browser()
		want(t, b.password(b.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		want(t, other.password(other.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		g.enrol("id-mdupont")
		half := g.browser() // has proven the password, not the code
		code := half.password(half.get("/begin?app=strong"), "mdupont", rightPassword)
		want(t, code, "factor")
		neighbour := g.browser()
		want(t, neighbour.password(neighbour.get("/begin?app=weak"), "ssmith", rightPassword), "done id-ssmith 1")

		question := b.get("/account/lock")
		for _, part := range []string{"Marie Dupont", "Vos 2 navigateurs", "Seule l’assistance", `action="/account/lock"`} {
			if !strings.Contains(question.body, part) {
				t.Errorf("the question lacks %q", part)
			}
		}
		g.ended = nil
		done := b.submit(question)
		for _, part := range []string{"Votre compte est bloqué", "2 navigateurs", "03 20 00 00 00"} {
			if !strings.Contains(done.body, part) {
				t.Errorf("the page after it lacks %q:\n%s", part, done.body)
			}
		}
		if len(g.ended) != 1 || g.ended[0] != "id-mdupont " {
			t.Errorf("whoever keeps something of the person was told %q", g.ended)
		}
		g.isLocked("id-mdupont", true)
		g.isLocked("id-ssmith", false)
		want(t, neighbour.get("/begin?app=weak"), "done id-ssmith 1")
		for name, one := range map[string]*browser{"this browser": b, "another one": other} {
			want(t, one.get("/begin?app=weak"), "password")
			want(t, one.get("/begin?app=weak&prompt=none"), "error login_required")
			if a := one.get("/account"); asks(a) != "password" {
				t.Errorf("%s: %s", name, asks(a))
			}
		}
		want(t, half.code(code, "id-mdupont"), "status 410") // the half-made sign-in is forgotten

		// A wrong password tells nothing; the right one says when, by whom, what to do.
		page := b.get("/begin?app=weak")
		want(t, b.password(page, "mdupont", "not it"), "password")
		told := b.password(page, "mdupont", rightPassword)
		for _, part := range []string{"Vous l’avez bloqué vous-même", i18n.Date(i18n.French, g.service.Local(noon), "datetime"), "03 20 00 00 00", "Marie Dupont"} {
			if told.status != http.StatusForbidden || !strings.Contains(told.body, part) {
				t.Errorf("%d without %q", told.status, part)
			}
		}
		want(t, b.get("/begin?app=weak"), "password")

		// Nobody opens their own account, and nobody opens without saying why.
		if err := g.service.Open(ctx, audit.Person("id-mdupont", "mdupont"), "id-mdupont", "because"); !errors.Is(err, ErrOpenOwn) {
			t.Errorf("one's own: %v", err)
		}
		if err := g.service.Open(ctx, audit.Operator("test"), "id-mdupont", " "); !errors.Is(err, ErrLockReason) {
			t.Errorf("without a reason: %v", err)
		}
		g.isLocked("id-mdupont", true)
		if err := g.service.Open(ctx, audit.Operator("test"), "id-mdupont", "verified by phrase"); err != nil {
			t.Fatal(err)
		}
		if err := g.service.Open(ctx, audit.Operator("test"), "id-mdupont", "again"); !errors.Is(err, db.ErrNotFound) {
			t.Errorf("opened twice: %v", err)
		}
		g.isLocked("id-mdupont", false)
		want(t, b.password(b.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		want(t, other.get("/begin?app=weak"), "password")

		locks, opens := g.trail("signin.lock"), g.trail("signin.open")
		if len(locks) != 1 || locks[0].Actor.ID != "id-mdupont" || locks[0].Detail["by"] != LockedBySelf || locks[0].Detail["sessions"] != "2" {
			t.Errorf("audit %+v", locks)
		}
		if len(opens) != 1 || opens[0].Detail["reason"] != "verified by phrase" || opens[0].Actor.Kind != "operator" {
			t.Errorf("audit %+v", opens)
		}
	})
}

func TestHelperLocksWithAReasonAndAFailingHookLocksNothing(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		ctx := context.Background()
		helper := audit.Person("id-ssmith", "ssmith")
		if err := g.service.Lock(ctx, helper, "id-mdupont", ""); !errors.Is(err, ErrLockReason) {
			t.Errorf("without a reason: %v", err)
		}
		g.isLocked("id-mdupont", false)
		var broken atomic.Bool
		g.service.OnLock(func(context.Context, audit.Actor, string) error {
			if broken.Load() {
				return errors.New("cannot end it")
			}
			return nil
		})
		b := g.browser()
		want(t, b.password(b.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		broken.Store(true)
		if err := g.service.Lock(ctx, helper, "id-mdupont", "stolen laptop"); err == nil {
			t.Error("a lock that could not end everything")
		}
		g.isLocked("id-mdupont", false)
		want(t, b.get("/begin?app=weak"), "done id-mdupont 1")
		broken.Store(false)
		first := g.now()
		for range 2 {
			if err := g.service.Lock(ctx, helper, "id-mdupont", "stolen laptop"); err != nil {
				t.Fatal(err)
			}
			g.advance(time.Hour)
		}
		lock, err := g.service.LockOf(ctx, "id-mdupont")
		if err != nil || !lock.Since.Equal(first) || lock.Way != LockedByHelper || lock.Actor != helper || lock.Reason != "stolen laptop" {
			t.Errorf("%+v %v", lock, err)
		}
		if a := b.password(b.get("/begin?app=weak"), "mdupont", rightPassword); !strings.Contains(a.body, "assistance l’a bloqué") {
			t.Errorf("%s", asks(a))
		}
	})
}

// link asks for a link, and returns its address within the site.
func (g *rig) link(person string) string {
	g.t.Helper()
	address, err := g.service.LockLink(context.Background(), person)
	if err != nil {
		g.t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme+"://"+u.Host != "http://id.test" || u.Path != "/account/notme" {
		g.t.Fatal(address)
	}
	return u.RequestURI()
}

// A link of a message does one thing, once, for one person, and not by being
// looked at (CVE-2026-37982, CVE-2026-9087; mail filters open every link).
func TestRow03LinkOfAMessageLocksOnceAndDoesNothingElse(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		ctx := context.Background()
		stranger := g.browser()
		address := g.link("id-mdupont")
		for range 3 {
			page := stranger.get(address)
			if page.status != http.StatusOK || !strings.Contains(page.body, "Marie Dupont") || strings.Count(page.body, "<button") != 1+strings.Count(page.body, `name="lang"`) {
				t.Fatalf("%d\n%s", page.status, page.body)
			}
		}
		g.isLocked("id-mdupont", false)

		// Not another method, purpose, spelling or person.
		token := strings.TrimPrefix(address, "/account/notme?token=")
		for name, bad := range map[string]string{
			"empty": "", "short": token[:42], "long": token + "A", "other case": strings.ToUpper(token), "of the database": linkHash(lockPurpose, token),
		} {
			if a := stranger.post("/account/notme", "token", bad); a.status != http.StatusGone {
				t.Errorf("%s: %d", name, a.status)
			}
		}
		if _, err := g.service.linkOf(ctx, "enrol", token); !errors.Is(err, db.ErrNotFound) {
			t.Errorf("as a link for something else: %v", err)
		}
		if _, err := g.d.Exec(ctx, "UPDATE signin_link SET purpose = 'enrol'"); err != nil {
			t.Fatal(err)
		}
		if a := stranger.post("/account/notme", "token", token); a.status != http.StatusGone {
			t.Errorf("a link for something else locks: %d", a.status)
		}
		if _, err := g.d.Exec(ctx, "UPDATE signin_link SET purpose = 'lock'"); err != nil {
			t.Fatal(err)
		}
		g.isLocked("id-mdupont", false)

		// Once, however many come together, and only the person it was made for.
		var locked atomic.Int32
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if a := g.browser().post("/account/notme", "token", token, "person", "id-ssmith", "login", "ssmith"); a.status == http.StatusOK {
					locked.Add(1)
				}
			})
		}
		all.Wait()
		if locked.Load() != 1 {
			t.Errorf("%d of 20 locked", locked.Load())
		}
		g.isLocked("id-mdupont", true)
		g.isLocked("id-ssmith", false)
		if a := stranger.get(address); a.status != http.StatusGone || !strings.Contains(a.body, "ne vaut qu’une fois") {
			t.Errorf("used: %d", a.status)
		}
		if rows := g.trail("signin.lock"); rows[0].Actor.Kind != "anonymous" {
			t.Errorf("a link is nobody's proof: %+v", rows[0].Actor)
		}
		var stored int
		if err := g.d.QueryRow(ctx, "SELECT COUNT(*) FROM signin_link WHERE hash = $1 OR hash LIKE $2", token, "%"+token+"%").Scan(&stored); err != nil || stored != 0 {
			t.Errorf("the link itself is stored: %d %v", stored, err)
		}

		// Older links end when the account is opened; a link ends by itself.
		second := g.link("id-mdupont")
		if a := stranger.get(second); !strings.Contains(a.body, "déjà bloqué") || strings.Contains(a.body, `action="/account/notme"`) {
			t.Errorf("of a locked account: %d", a.status)
		}
		if err := g.service.Open(ctx, audit.Operator("test"), "id-mdupont", "verified"); err != nil {
			t.Fatal(err)
		}
		if a := stranger.get(second); a.status != http.StatusGone {
			t.Errorf("of before the opening: %d", a.status)
		}
		third := g.link("id-mdupont")
		g.advance(lockLinkLife)
		if a := stranger.get(third); a.status != http.StatusGone || !strings.Contains(a.body, "30 jours") {
			t.Errorf("too old: %d", a.status)
		}
		if a := stranger.post("/account/notme", "token", strings.TrimPrefix(third, "/account/notme?token=")); a.status != http.StatusGone {
			t.Errorf("too old, posted: %d", a.status)
		}
		g.isLocked("id-mdupont", false)
	})
}
