package webmail

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// listen opens a stream and gives what it tells.
func (b *browser) listen(ctx context.Context) <-chan news {
	b.r.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.r.web.URL+"/mail/events", nil)
	if err != nil {
		b.r.t.Fatal(err)
	}
	client := &http.Client{Jar: b.client.Jar}
	res, err := client.Do(req)
	if err != nil {
		b.r.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" || !strings.Contains(res.Header.Get("Cache-Control"), "no-store") {
		b.r.t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	told := make(chan news, 100)
	go func() {
		defer close(told)
		defer func() { _ = res.Body.Close() }()
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			text, ok := strings.CutPrefix(lines.Text(), "data: ")
			var n news
			if ok && text != "{}" && json.Unmarshal([]byte(text), &n) == nil {
				told <- n
			}
		}
	}()
	return told
}

// hears waits for news that fit.
func hears(t *testing.T, told <-chan news, what string, fits func(news) bool) time.Duration {
	t.Helper()
	began := time.Now()
	limit := time.After(10 * time.Second)
	var heard []news
	for {
		select {
		case n, ok := <-told:
			if !ok {
				t.Fatalf("the stream ended before %s: %+v", what, heard)
			}
			if heard = append(heard, n); fits(n) {
				return time.Since(began)
			}
		case <-limit:
			t.Fatalf("nothing was told of %s: %+v", what, heard)
		}
	}
}

func TestNewMailIsToldToEveryBrowserByOneConnection(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, second, other := r.browser("mdupont").listen(ctx), r.browser("mdupont").listen(ctx), r.browser("jmartin").listen(ctx)
	for _, told := range []<-chan news{first, second, other} {
		hears(t, told, "the count", func(n news) bool { return n.Unread == 0 && n.New == nil })
	}
	r.dovecot.Deliver("mdupont", simple)
	fits := func(n news) bool {
		return n.Unread == 1 && len(n.New) == 1 && n.New[0].From == "Hélène Petit" && n.New[0].Subject == "Réunion pédagogique" && strings.HasPrefix(n.New[0].Href, "/mail/INBOX/")
	}
	took := hears(t, first, "the message", fits)
	took = max(took, hears(t, second, "the message", fits))
	t.Logf("told after %s", took.Round(time.Millisecond))
	if people, streams := r.s.live.watched(); people != 2 || streams != 3 {
		t.Errorf("%d people, %d streams", people, streams)
	}
	r.s.watchers.mu.Lock()
	if r.s.watchers.open != 2 {
		t.Errorf("%d connections wait for two people", r.s.watchers.open)
	}
	r.s.watchers.mu.Unlock()
	select {
	case n := <-other:
		t.Errorf("somebody else hears %+v", n)
	default:
	}
	// Read elsewhere, it is told as well.
	b := r.browser("mdupont")
	b.get("/mail/")
	b.get(b.rows()[0])
	hears(t, first, "the reading", func(n news) bool { return n.Unread == 0 && n.New == nil })

	// A dropped connection is made again, and nothing is missed.
	r.dovecot.Stop()
	r.dovecot.Start()
	r.dovecot.Deliver("mdupont", simple)
	hears(t, second, "the message after the mail server was away", func(n news) bool { return n.Unread == 1 })

	// Nobody listens: nobody waits.
	cancel()
	for range 200 {
		if people, _ := r.s.live.watched(); people == 0 {
			return
		}
		r.dovecot.Deliver("mdupont", simple)
		r.dovecot.Deliver("jmartin", simple)
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("somebody is watched for whom nobody listens")
}

func TestAStreamEndsWithItsSessionAndMakesRoom(t *testing.T) {
	r := newRig(t)
	r.s.beat = 200 * time.Millisecond
	b := r.browser("mdupont")
	var all []<-chan news
	for range streamsOfOne + 1 {
		told := b.listen(t.Context())
		hears(t, told, "the count", func(n news) bool { return true })
		all = append(all, told)
	}
	for range all[0] { // the oldest made room
	}
	if _, streams := r.s.live.watched(); streams != streamsOfOne {
		t.Errorf("%d streams", streams)
	}
	// The session ends: what waits is cut, and so are the streams.
	r.portal.ended.Store(true)
	r.module.Forget("sub-mdupont")
	r.dovecot.Deliver("mdupont", simple)
	ended := make(chan bool)
	go func() {
		for _, told := range all[1:] {
			for range told {
			}
		}
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("a stream goes on without a session")
	}
}

// TestAFolderThatIsWatchedTellsToo: a filter may file what one waits for.
func TestAFolderThatIsWatchedTellsToo(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	b.post("/mail/notifications", url.Values{"on": {"1"}, "from": {"20:00"}, "until": {"07:00"}, "box": {"Archive", "Nulle part"}})
	b.status(200)
	r.putUnread("mdupont", "Archive", "From: a@dehors.test\r\nSubject: d'avant\r\n\r\nx\r\n")
	ctx, err := r.portal.As(t.Context(), "mdupont")
	if err != nil {
		t.Fatal(err)
	}
	who, err := r.s.owner(ctx)
	if err != nil {
		t.Fatal(err)
	}
	known := otherBoxes{}
	look := func() (items []newsItem) {
		t.Helper()
		err := r.s.watchers.Do(ctx, who, "INBOX", reads, func(c *conn) (err error) {
			if _, err := c.open("INBOX", false); err != nil {
				return err
			}
			items, err = r.s.lookBeside(ctx, who, c, known)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return items
	}
	if got := look(); len(got) != 0 {
		t.Fatalf("what was there before is told: %+v", got)
	}
	r.putUnread("mdupont", "Archive", "From: Chef <chef@academie.test>\r\nSubject: rapport\r\n\r\nx\r\n")
	if got := look(); len(got) != 1 || got[0].Subject != "rapport" || got[0].Mail != "chef@academie.test" || !strings.HasPrefix(got[0].Href, "/mail/Archive/") {
		t.Fatalf("%+v", got)
	}
	if got := look(); len(got) != 0 {
		t.Fatalf("told twice: %+v", got)
	}
}

// putUnread puts an unread message into a mailbox.
func (r *rig) putUnread(login, box, raw string) {
	r.t.Helper()
	ctx, err := r.portal.As(r.t.Context(), login)
	if err != nil {
		r.t.Fatal(err)
	}
	who, err := r.s.owner(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.s.append(ctx, who, box, []byte(raw), nil); err != nil {
		r.t.Fatal(err)
	}
}
