package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// writers is how many people write mail at once while servers are killed.
const writers = 50

// TestNothingAcceptedIsLost kills Dovecot, Beffroi and PostgreSQL while fifty people send mail, save drafts, schedule, snooze and
// upload large files. What the portal has answered with success is there in the end: a message once in its inbox or, where it
// was repeated because its fate was unknown, with the same Message-ID and counted.
func TestNothingAcceptedIsLost(t *testing.T) {
	t.Parallel()
	postgres := testpeer.StartPostgres(t, testpeer.PostgresOptions{Durable: true})
	parts := &rig.Parts{Database: postgres.Database(), Slapd: testpeer.StartSlapd(t, testpeer.SlapdOptions{People: testpeer.GeneratePeople(writers)}), Assurance: 1}
	parts.Dovecot = testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: parts.Introspection(t), CacheTokens: true})
	w := newWorld(t, rig.Serve(t, parts))
	c := &crowdOfWriters{w: w, parts: parts}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	t.Cleanup(cancel)
	for i := range writers {
		one := &writer{login: fmt.Sprintf("u%06d", i), v: visitor.New()}
		page, err := one.v.Open(ctx, w.Portal+"/mail/", "")
		if err == nil {
			page, err = one.v.SignIn(ctx, page, &visitor.Person{Login: one.login, Password: testpeer.Password}, "")
		}
		if err != nil || page.Status != 200 {
			t.Fatalf("%s: %v %s", one.login, err, page)
		}
		c.people = append(c.people, one)
	}
	for _, victim := range []struct {
		name        string
		kill, start func()
	}{
		{"Dovecot", parts.Dovecot.Kill, parts.Dovecot.Start},
		{"Beffroi", w.Kill, w.Start},
		{"PostgreSQL", postgres.Kill, postgres.Start},
	} {
		if !t.Run(victim.name, func(t *testing.T) { c.survives(t, ctx, victim.name, victim.kill, victim.start) }) {
			return
		}
	}
}

// writer is one of them, and what was accepted of theirs.
type writer struct {
	login string
	v     *visitor.Visitor

	mu                               sync.Mutex
	sent, drafts, scheduled, snoozed []string
	files                            []*halfFile
}

// halfFile is a large file on its way: pieces are what was answered.
type halfFile struct {
	id      string
	content []byte
	offset  int
}

type crowdOfWriters struct {
	w        *world
	parts    *rig.Parts
	people   []*writer
	accepted atomic.Int64
	repeated float64 // by processes that have been killed
}

func (c *crowdOfWriters) survives(t *testing.T, ctx context.Context, name string, kill, start func()) {
	for i, one := range c.people {
		c.parts.Dovecot.Deliver(one.login, fmt.Sprintf("From: Sarah Smith <sarah.smith@academie.test>\nSubject: %s-away-%d\n\nx\n", name, i))
	}
	began := c.accepted.Load()
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i, one := range c.people {
		wg.Go(func() {
			for round := i; !stop.Load(); round++ {
				c.does(ctx, one, round, name)
			}
		})
	}
	testpeer.WaitFor(t, "the first things accepted", 60*time.Second, func() bool { return c.accepted.Load() >= began+100 })
	if name == "Beffroi" {
		c.repeated += c.counted(t)
	}
	kill()
	time.Sleep(300 * time.Millisecond)
	start()
	before := c.accepted.Load()
	testpeer.WaitFor(t, "things accepted again after the restart", 90*time.Second, func() bool { return c.accepted.Load() >= before+60 })
	stop.Store(true)
	wg.Wait()
	t.Logf("%d things accepted", c.accepted.Load()-began)
	c.everythingIsThere(t, ctx)
}

// does tries one of the five things; whatever fails is tried again another time.
func (c *crowdOfWriters) does(ctx context.Context, one *writer, round int, name string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	subject := fmt.Sprintf("%s-%s-%d-%d", name, one.login, round, time.Now().UnixNano())
	ok := false
	switch round % 5 {
	case 0:
		if ok = c.writes(ctx, one, subject, "send", nil); ok {
			one.note(&one.sent, subject)
		}
	case 1:
		if ok = c.writes(ctx, one, subject, "draft", nil); ok {
			one.note(&one.drafts, subject)
		}
	case 2:
		if ok = c.writes(ctx, one, subject, "later", url.Values{"at": {time.Now().Add(50 * time.Hour).Format("2006-01-02T15:04")}}); ok {
			one.note(&one.scheduled, subject)
		}
	case 3:
		ok = c.snoozes(ctx, one)
	case 4:
		ok = c.uploads(ctx, one, subject)
	}
	if ok {
		c.accepted.Add(1)
	} else {
		time.Sleep(100 * time.Millisecond)
	}
}

func (one *writer) note(list *[]string, what string) {
	one.mu.Lock()
	defer one.mu.Unlock()
	*list = append(*list, what)
}

// writes tells whether the portal said that it took the composition: an answer that is no page to write on.
func (c *crowdOfWriters) writes(ctx context.Context, one *writer, subject, action string, more url.Values) bool {
	page, err := one.v.Open(ctx, c.w.Portal+"/mail/compose", "")
	if err != nil || page.Status != 200 {
		return false
	}
	form, err := page.Form("text")
	if err != nil {
		return false
	}
	to, _ := strconv.Atoi(one.login[1:])
	changes := map[string]string{"to": fmt.Sprintf("u%06d@academie.test", (to+1)%writers), "subject": subject, "text": "Bonjour.", "action": action}
	for key, values := range more {
		changes[key] = values[0]
	}
	page, err = one.v.Submit(ctx, form, changes, "http")
	return err == nil && page.Location() != ""
}

var messageKey = regexp.MustCompile(`name="m" value="([0-9.]+)" id=[^>]*>`)

// snoozes puts one message away that has come for that.
func (c *crowdOfWriters) snoozes(ctx context.Context, one *writer) bool {
	page, err := one.v.Open(ctx, c.w.Portal+"/mail/", "")
	if err != nil || page.Status != 200 {
		return false
	}
	subject := regexp.MustCompile(`[A-Za-z]+-away-[0-9]+`).FindString(page.Body)
	if subject == "" {
		return false
	}
	before, _, _ := strings.Cut(page.Body, subject)
	keys := messageKey.FindAllStringSubmatch(before, -1)
	if len(keys) == 0 {
		return false
	}
	answer, err := one.v.Post(ctx, c.w.Portal+"/mail/INBOX/snooze", url.Values{"m": {keys[len(keys)-1][1]}, "at": {time.Now().Add(50 * time.Hour).Format("2006-01-02T15:04")}}, c.w.Portal+"/mail/")
	if err != nil || !strings.Contains(answer.Location(), "done=snoozed") {
		return false
	}
	one.note(&one.snoozed, subject)
	return true
}

// uploads begins a large file, or sends the next piece of one.
func (c *crowdOfWriters) uploads(ctx context.Context, one *writer, subject string) bool {
	one.mu.Lock()
	defer one.mu.Unlock()
	if len(one.files) == 0 || one.files[len(one.files)-1].offset > 0 {
		content := bytes.Repeat([]byte(subject+"\n"), 8000)
		var answer struct{ ID string }
		if c.asks(ctx, one, http.MethodPost, "/mail-files", strings.NewReader(url.Values{"name": {subject}, "size": {strconv.Itoa(len(content))}}.Encode()), -1, &answer) != 200 || answer.ID == "" {
			return false
		}
		one.files = append(one.files, &halfFile{id: answer.ID, content: content})
		return true
	}
	f := one.files[len(one.files)-1]
	half := len(f.content) / 2
	var answer struct{ Offset int }
	switch c.asks(ctx, one, http.MethodPatch, "/mail-files/"+f.id, bytes.NewReader(f.content[f.offset:half]), f.offset, &answer) {
	case 200:
		f.offset = answer.Offset
		return true
	case 409: // the answer before was lost
		if c.asks(ctx, one, http.MethodGet, "/mail-files/"+f.id, nil, -1, &answer) == 200 {
			f.offset = answer.Offset
		}
	}
	return false
}

// asks sends what the script of the page does; 0 is no answer.
func (c *crowdOfWriters) asks(ctx context.Context, one *writer, method, path string, body io.Reader, offset int, into any) int {
	r, err := http.NewRequestWithContext(ctx, method, c.w.Portal+path, body)
	if err != nil {
		return 0
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if offset >= 0 {
		r.Header.Set("Upload-Offset", strconv.Itoa(offset))
	}
	answer, err := one.v.Do(r)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0
	}
	if into != nil {
		_ = json.Unmarshal(text, into) // another answer leaves it empty
	}
	return answer.StatusCode
}

// counted is how many submissions the running process says that it repeated.
func (c *crowdOfWriters) counted(t *testing.T) float64 {
	t.Helper()
	_, metrics := get(t, c.w.Admin+"/metrics")
	m := regexp.MustCompile(`(?m)^beffroi_mail_repeated_total ([0-9.e+]+)$`).FindStringSubmatch(metrics)
	if m == nil {
		t.Fatal("repeats are not counted")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (c *crowdOfWriters) everythingIsThere(t *testing.T, ctx context.Context) {
	t.Helper()
	var all sync.WaitGroup
	var copies atomic.Int64
	for i, one := range c.people {
		all.Go(func() {
			next := c.people[(i+1)%writers].login
			c.there(t, ctx, one, "sent", next, "INBOX", one.sent, &copies)
			c.there(t, ctx, one, "filed", one.login, "Sent", one.sent, nil)
			c.there(t, ctx, one, "drafts", one.login, "Drafts", one.drafts, nil)
			// Dovecot killed in the middle of MOVE leaves the message in both mailboxes: twice is not lost
			if gone, _ := missing(append(c.parts.Dovecot.Messages(one.login, "Snoozed"), c.parts.Dovecot.Messages(one.login, "INBOX")...), one.snoozed); len(gone) > 0 {
				t.Errorf("snoozed of %s: missing %v", one.login, gone)
			}
			page, err := one.v.Open(ctx, c.w.Portal+"/mail/scheduled", "")
			if err != nil || page.Status != 200 {
				t.Errorf("scheduled of %s: %v %s", one.login, err, page)
				return
			}
			for _, subject := range one.scheduled {
				if !page.Says(subject) {
					t.Errorf("scheduled of %s: %s is missing", one.login, subject)
				}
			}
			for _, f := range one.files {
				c.finishes(t, ctx, one, f)
			}
			one.files = nil
		})
	}
	all.Wait()
	if counted := c.repeated + c.counted(t); float64(copies.Load()) > counted {
		t.Errorf("%d messages arrived more than once, %v submissions were counted as repeated", copies.Load(), counted)
	}
}

// there waits until messages are in a folder; copies counts those that are there again, which must be the same message.
func (c *crowdOfWriters) there(t *testing.T, ctx context.Context, one *writer, what, login, folder string, subjects []string, copies *atomic.Int64) {
	var gone, twice []string
	var messages []string
	for range 120 { // what waits in the outbox goes out by itself
		messages = c.parts.Dovecot.Messages(login, folder)
		if gone, twice = missing(messages, subjects); len(gone) == 0 {
			break
		}
		if _, err := one.v.Open(ctx, c.w.Portal+"/mail/", ""); err != nil {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	if len(gone) > 0 {
		t.Errorf("%s of %s are missing in %s of %s: %v", what, one.login, folder, login, gone)
	}
	for _, subject := range twice {
		ids := map[string]int{}
		for _, m := range messages {
			if strings.Contains(m, "Subject: "+subject) {
				_, rest, _ := strings.Cut(m, "Message-ID: ")
				id, _, _ := strings.Cut(rest, "\n")
				ids[strings.TrimSpace(id)]++
			}
		}
		if len(ids) != 1 || copies == nil {
			t.Errorf("%s of %s: %s is there more than once in %s of %s: %v", what, one.login, subject, folder, login, ids)
			continue
		}
		for _, n := range ids {
			copies.Add(int64(n - 1))
		}
	}
}

// finishes sends the rest of a file from where it is, which is no less than what was answered, and takes it back.
func (c *crowdOfWriters) finishes(t *testing.T, ctx context.Context, one *writer, f *halfFile) {
	var answer struct {
		Offset int
		State  string
	}
	if status := c.asks(ctx, one, http.MethodGet, "/mail-files/"+f.id, nil, -1, &answer); status != 200 || answer.Offset < f.offset {
		t.Errorf("a file of %s: %d, %d bytes are there of %d that were answered", one.login, status, answer.Offset, f.offset)
		return
	}
	if status := c.asks(ctx, one, http.MethodPatch, "/mail-files/"+f.id, bytes.NewReader(f.content[answer.Offset:]), answer.Offset, &answer); status != 200 || answer.State != "ready" {
		t.Errorf("the rest of a file of %s: %d %+v", one.login, status, answer)
		return
	}
	page, err := one.v.Get(ctx, c.w.Portal+"/mail-files/"+f.id+"/content")
	if err != nil || page.Body != string(f.content) {
		t.Errorf("a file of %s is another one after the crash: %v", one.login, err)
	}
}

// missing tells which subjects the messages lack and which they have more than once.
func missing(messages, subjects []string) (gone, twice []string) {
	all := strings.Join(messages, "\n")
	for _, subject := range subjects {
		switch strings.Count(all, "Subject: "+subject) {
		case 0:
			gone = append(gone, subject)
		case 1:
		default:
			twice = append(twice, subject)
		}
	}
	return gone, twice
}
