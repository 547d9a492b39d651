package signin

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/mailer"
)

// told collects what would be sent.
type told struct {
	mu  sync.Mutex
	all []mailer.Message
	err error
}

func (t *told) Queue(_ context.Context, m mailer.Message) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, m)
	return t.err
}

func (t *told) last(test *testing.T) mailer.Message {
	test.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) == 0 {
		test.Fatal("nobody was told")
	}
	return t.all[len(t.all)-1]
}

func TestPeopleAreToldOfEveryChange(t *testing.T) {
	each(t, Config{Trust: time.Hour}, func(t *testing.T, g *rig) {
		news := &told{}
		g.service.teller = news
		b := g.browser()
		b.headers["User-Agent"] = "Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0"
		page := b.password(b.get("/begin?app=strong"), "ssmith", rightPassword)
		code, err := g.mfa.Code(context.Background(), "id-ssmith")
		if err != nil {
			t.Fatal(err)
		}
		want(t, b.submit(page, "code", code), "done id-ssmith 2")
		m := news.last(t)
		if m.To != "sarah.smith@academie.test" || m.Lang != "en" || m.Subject != "Your account: a phone was added for codes" {
			t.Errorf("%+v", m)
		}
		for _, part := range []string{"Hello Sarah Smith", "with your account", "Firefox Windows · 127.0.0.1", "http://id.test/account/notme?token="} {
			if !strings.Contains(m.Body, part) {
				t.Errorf("no %q in\n%s", part, m.Body)
			}
		}
		// A helper's reset names the helper, not where they sit.
		ctx := context.Background()
		if _, err := g.mfa.Reset(ctx, audit.Person("id-mdupont", "mdupont"), "id-ssmith", "lost"); err != nil {
			t.Fatal(err)
		}
		if m := news.last(t); !strings.Contains(m.Subject, "reset") || !strings.Contains(m.Body, "by the helpdesk (Marie Dupont)") || strings.Contains(m.Body, "127.0.0.1") {
			t.Errorf("%+v", m)
		}
		// The link of any message locks, once, and that is told too.
		link := regexp.MustCompile(`http://id\.test(/account/notme\?token=\S+)`).FindStringSubmatch(news.last(t).Body)[1]
		stranger := g.browser()
		if a := stranger.get(link); a.status != http.StatusOK {
			t.Fatalf("%d", a.status)
		}
		token, _ := url.ParseQuery(strings.SplitN(link, "?", 2)[1])
		if a := stranger.post("/account/notme", "token", token.Get("token")); a.status != http.StatusOK {
			t.Fatalf("%d", a.status)
		}
		if since, _ := g.service.LockedSince(ctx, "id-ssmith"); since.IsZero() {
			t.Error("the link does not lock")
		}
		if m := news.last(t); !strings.Contains(m.Subject, "locked") {
			t.Errorf("%+v", m)
		}
		n := len(news.all)
		if _, err := g.mfa.NewRecoveryCodes(ctx, audit.Person("id-mdupont", "mdupont"), "id-mdupont"); err != nil {
			t.Fatal(err)
		}
		if len(news.all) != n+1 || !strings.HasPrefix(news.last(t).Subject, "Votre compte : de nouveaux codes de secours") {
			t.Errorf("%+v", news.last(t))
		}
	})
}

// TestRow37NothingKeepsAFactorFromBeingResetNorHidesIt: the directory may be
// down; what fails in the database undoes both.
func TestRow37NothingKeepsAFactorFromBeingResetNorHidesIt(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		ctx := context.Background()
		news := &told{}
		g.service.teller = news
		g.enrol("id-mdupont")
		g.people.down.Store(true)
		if _, err := g.mfa.Reset(ctx, audit.Operator("o"), "id-mdupont", "lost"); err != nil {
			t.Fatal(err)
		}
		g.people.down.Store(false)
		if m := news.last(t); m.Person != "id-mdupont" || m.To != "" || !strings.Contains(m.Body, "/account/notme?token=") {
			t.Errorf("%+v", m)
		}
		g.enrol("id-mdupont")
		news.err = context.DeadlineExceeded
		if _, err := g.mfa.Reset(ctx, audit.Operator("o"), "id-mdupont", "lost"); err == nil {
			t.Error("reset, and nobody told")
		}
		if n, _ := g.mfa.Count(ctx, "id-mdupont"); n != 1 {
			t.Errorf("%d factors", n)
		}
	})
}

// TestRow03LinksDoWhatTheyWereSentForAndNothingElse: the link that locks is no
// session, no code, no other link.
func TestRow03LinksDoWhatTheyWereSentForAndNothingElse(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		link, err := g.service.LockLink(context.Background(), "id-ssmith")
		if err != nil {
			t.Fatal(err)
		}
		token := link[strings.Index(link, "token=")+6:]
		b := g.browser()
		u, _ := url.Parse(g.server.URL)
		for _, name := range []string{"beffroi_provider", "beffroi_device", "beffroi_flow_x"} {
			b.jar.SetCookies(u, []*http.Cookie{{Name: name, Value: token, Path: "/"}})
		}
		want(t, b.get("/account"), "password")
		page := b.password(b.get("/begin?app=weak"), "mdupont", rightPassword)
		want(t, page, "done id-mdupont 1")
		fresh := g.browser()
		if a := fresh.get("/account/history?token=" + token); asks(a) != "password" {
			t.Errorf("%s", asks(a))
		}
		if a := fresh.post("/account/lock", "login", "ssmith", "card", token); a.status != http.StatusUnprocessableEntity {
			t.Errorf("as a card: %d", a.status)
		}
		if since, _ := g.service.LockedSince(context.Background(), "id-ssmith"); !since.IsZero() {
			t.Error("locked by something else than the link's own form")
		}
	})
}
