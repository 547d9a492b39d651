package webmail

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/portal"
)

// letter is a message of a thread.
func letter(from, subject, id string, references ...string) []byte {
	head := "From: " + from + "\r\nTo: mdupont@academie.test\r\nSubject: " + subject + "\r\nDate: Mon, 23 Nov 2026 10:0" + strconv.Itoa(len(references)) + ":00 +0100\r\n"
	if id != "" {
		head += "Message-ID: <" + id + ">\r\n"
	}
	if len(references) > 0 {
		head += "In-Reply-To: <" + references[len(references)-1] + ">\r\nReferences: <" + strings.Join(references, ">\r\n <") + ">\r\n"
	}
	return []byte(head + "Content-Type: text/plain; charset=utf-8\r\n\r\nTexte de " + subject + "\r\n")
}

// putIn files a message in a mailbox, which is made where it is missing.
func (r *rig) putIn(login, box string, raw []byte) ref {
	r.t.Helper()
	who := owner{sub: "sub-" + login, login: login, token: r.tokens.give(login), expires: time.Now().Add(time.Hour)}
	_ = r.s.pools.Do(r.t.Context(), who, "", writes, func(c *conn) error { return c.Create(box, nil).Wait() })
	at, err := r.s.append(r.t.Context(), who, box, raw, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return at
}

// followed lets a round pass, as if the person had been here for a while.
func (r *rig) followed(login string) {
	r.t.Helper()
	ctx := context.WithValue(r.t.Context(), visitor{}, login)
	running := func() bool { // a round that a page began
		r.s.followed.mu.Lock()
		defer r.s.followed.mu.Unlock()
		return r.s.followed.now["sub-"+login]
	}
	for running() {
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := r.s.db.Exec(ctx, "UPDATE mail_followed SET checked = 0"); err != nil {
		r.t.Fatal(err)
	}
	if err := r.s.followAll(ctx); err != nil {
		r.t.Fatal(err)
	}
}

var turnLine = regexp.MustCompile(`(?s)<li class="mail-turn[^"]*".*?</li>`)

// turns are the lines of a conversation, in words.
func (b *browser) turns() []string {
	var all []string
	for _, line := range turnLine.FindAllString(b.body, -1) {
		words := strings.Join(strings.Fields(textOf(sanitize(line, nil, "").Body)), " ")
		all = append(all, strings.TrimPrefix(strings.TrimPrefix(words, "- "), "non lu, "))
	}
	return all
}

func TestAConversationIsSeenOverAllMailboxes(t *testing.T) {
	r := newRig(t)
	first := r.putIn("mdupont", "Archive", letter("Ann <ann@perso.example>", "Sortie", "a@x"))
	mine := r.putIn("mdupont", "Sent", letter("Marie Dupont <mdupont@academie.test>", "Re: Sortie", "b@x", "a@x"))
	last := r.putIn("mdupont", "INBOX", letter("Bob <bob@perso.example>", "Re: Sortie", "c@x", "a@x", "b@x"))
	r.putIn("mdupont", "Trash", letter("Bob <bob@perso.example>", "Re: Sortie", "d@x", "a@x"))
	alone := r.putIn("mdupont", "INBOX", letter("Eve <eve@perso.example>", "Sortie", "e@x")) // the same subject is no conversation
	twice := r.putIn("mdupont", "Archive", letter("Bob <bob@perso.example>", "Re: Sortie", "c@x", "a@x", "b@x"))
	r.putIn("jmartin", "INBOX", letter("Ann <ann@perso.example>", "Sortie", "a@x"))
	r.followed("jmartin")

	b := r.browser("mdupont")
	b.get("/mail/") // nothing is waited for
	b.status(200)
	r.followed("mdupont")
	b.get("/mail/")
	if n := strings.Count(b.body, "3 messages dans la conversation"); n != 2 { // title and words, of one row
		t.Errorf("%d times in\n%s", n, b.body)
	}
	b.get(last.path())
	b.sees(`hx-get="`+last.path()+`/conversation"`, "3 messages dans la conversation")
	b.get(last.path() + "/conversation")
	b.status(200)
	if got := b.turns(); len(got) != 3 || !strings.HasPrefix(got[0], "Ann Texte de Sortie") || !strings.HasPrefix(got[1], "Moi Texte de Re: Sortie") || !strings.Contains(got[1], "Envoyés") || !strings.HasPrefix(got[2], "Bob") {
		t.Errorf("%q", got)
	}
	for _, want := range []ref{first, mine, last} {
		if !strings.Contains(b.body, `href="`+want.path()+`"`) {
			t.Errorf("%s is missing", want.path())
		}
	}
	if strings.Contains(b.body, twice.path()+`"`) {
		t.Error("the copy is shown beside the message")
	}
	b.get(twice.path() + "/conversation") // asked from the copy, it is the copy
	if got := b.turns(); len(got) != 3 || !strings.Contains(b.body, twice.path()+`"`) {
		t.Errorf("%q", got)
	}
	b.get(alone.path())
	if strings.Contains(b.body, "mail-conversation") {
		t.Error("somebody else's message of that subject is in a conversation")
	}
	other := r.browser("jmartin")
	other.get("/mail/")
	if strings.Contains(other.body, "dans la conversation") {
		t.Error("another person's messages count")
	}

	// What was moved by hand or elsewhere is found where it is; what is gone is forgotten.
	who := owner{sub: "sub-mdupont", login: "mdupont", token: r.tokens.give("mdupont"), expires: time.Now().Add(time.Hour)}
	err := r.s.pools.Do(t.Context(), who, "Archive", writes, func(c *conn) error {
		if _, err := c.open("Archive", true); err != nil {
			return err
		}
		_, err := c.Move(imap.UIDSetNum(first.uid), "Trash").Wait()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.get(last.path() + "/conversation")
	if got := b.turns(); len(got) != 2 {
		t.Errorf("%q", got)
	}
	b.get(last.path())
	b.sees("2 messages dans la conversation")
	// A mailbox that was made anew under its name has other messages.
	err = r.s.pools.Do(t.Context(), who, "", writes, func(c *conn) error {
		if err := c.Delete("Archive").Wait(); err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.putIn("mdupont", "Archive", letter("Ann <ann@perso.example>", "Autre", "z@x"))
	r.followed("mdupont")
	b.get(last.path() + "/conversation")
	if got := b.turns(); len(got) != 2 || b.last.StatusCode != http.StatusOK {
		t.Errorf("%q", got)
	}
}

// Whatever the order and the batches in which messages are read, those with a
// Message-ID in common are one conversation, and no others.
func TestConversationsDoNotDependOnTheOrder(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := newRigOn(t, newTokens(t), portal.MailConfig{IMAP: "127.0.0.1:1", IMAPTLS: "none", Submission: "127.0.0.1:1", SubmissionTLS: "none"}, d)
		type link struct{ own, answers string }
		chains := []link{{"a", ""}, {"b", "a"}, {"c", "b"}, {"d", "c"}, {"e", "a"}, {"f", "e"}, // one tree
			{"g", ""}, {"h", "g"}, // another
			{"i", "missing"}, {"j", "missing"}, // both answer what nobody has
			{"k", ""}} // alone
		want := map[string]string{"a": "1", "b": "1", "c": "1", "d": "1", "e": "1", "f": "1", "g": "2", "h": "2", "i": "3", "j": "3", "k": "4"}
		for round := range 30 {
			sub := fmt.Sprintf("person-%d", round)
			order := rand.Perm(len(chains))
			size := 1 + rand.IntN(len(chains))
			for batch := range slices.Chunk(order, size) {
				var found []followedMessage
				for _, i := range batch {
					h := header{{"message-id", "<" + chains[i].own + ">"}}
					if chains[i].answers != "" {
						h = append(h, headerField{"references", "<" + chains[i].answers + ">"})
					}
					found = append(found, followedMessage{uid: imap.UID(i + 1), received: time.Now(), ids: hashedIDs(h, "INBOX", 1, imap.UID(i+1))})
				}
				if err := r.s.noteMessages(t.Context(), sub, "INBOX", found, extent{1, 1, 100}); err != nil {
					t.Fatal(err)
				}
			}
			got := map[string]string{}
			rows, err := db.All(t.Context(), d, func(scan func(...any) error) (row [2]string, err error) {
				var uid int
				err = scan(&uid, &row[1])
				row[0] = chains[uid-1].own
				return row, err
			}, "SELECT uid, conversation FROM mail_message WHERE person = $1", sub)
			if err != nil || len(rows) != len(chains) {
				t.Fatal(len(rows), err)
			}
			for _, one := range rows {
				got[one[0]] = one[1]
			}
			for a := range want {
				for b := range want {
					if (want[a] == want[b]) != (got[a] == got[b]) {
						t.Fatalf("order %v by %d: %s and %s, %v", order, size, a, b, got)
					}
				}
			}
		}
		// Long after somebody was here, nothing is kept.
		r.s.now = func() time.Time { return time.Now().Add(followKept + time.Hour) }
		for range 3 {
			if _, err := r.module.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, table := range []string{"mail_message", "mail_message_id", "mail_followed"} {
			var n int
			if err := d.QueryRow(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil || n != 0 {
				t.Errorf("%s: %d rows, %v", table, n, err)
			}
		}
	})
}

func TestTenThousandMessagesAreFollowedNewestFirst(t *testing.T) {
	r := newRig(t)
	r.dovecot.Fill("mdupont", 10_000)
	began := time.Now()
	r.followed("mdupont")
	t.Logf("10,000 messages followed in %s", time.Since(began).Round(time.Millisecond))
	var n int
	if err := r.s.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM mail_message WHERE person = 'sub-mdupont'").Scan(&n); err != nil || n != 10_000 {
		t.Fatal(n, err)
	}
	began = time.Now()
	r.followed("mdupont")
	t.Logf("a round with nothing new took %s", time.Since(began).Round(time.Millisecond))
}
