package mailer

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
	"beffroi/internal/testpeer"
)

type post struct {
	*Outbox
	t     *testing.T
	d     *db.DB
	clock atomic.Int64
	known map[string]string
}

func newPost(t *testing.T, d *db.DB, c Config) *post {
	t.Helper()
	p := &post{t: t, d: d, known: map[string]string{}}
	p.clock.Store(time.Now().UnixMicro())
	resolve := func(_ context.Context, person string) (string, error) { return p.known[person], nil }
	o, err := New(d, secret.NewSealer([32]byte{1}), c, resolve, nil, func() time.Time { return time.UnixMicro(p.clock.Load()).UTC() })
	if err != nil {
		t.Fatal(err)
	}
	p.Outbox = o
	return p
}

func (p *post) queue(m Message) {
	p.t.Helper()
	if err := p.Queue(context.Background(), m); err != nil {
		p.t.Fatal(err)
	}
}

func (p *post) deliver() int {
	p.t.Helper()
	n, err := p.Deliver(context.Background())
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func (p *post) rows(where string) (n int) {
	p.t.Helper()
	if err := p.d.QueryRow(context.Background(), "SELECT COUNT(*) FROM notice_outbox WHERE "+where).Scan(&n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

func dovecot(t *testing.T) (*testpeer.DovecotServer, Config) {
	t.Helper()
	nobody := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nobody.Close)
	s := testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: nobody.URL})
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(testpeer.ServicePassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, Config{Submission: s.Submission, User: testpeer.ServiceUser, PasswordFile: password, From: "Académie de Test <ne-pas-repondre@academie.test>", AuthorityFile: s.CAFile}
}

func TestMessageArrivesThroughARealServer(t *testing.T) {
	server, config := dovecot(t)
	if err := config.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		p := newPost(t, d, config)
		body := "Bonjour Jean-François,\n\nune clé d’accès a été ajoutée.\n" + strings.Repeat("une longue ligne ", 100) + "\n"
		before := len(server.Messages("jmartin", "INBOX"))
		p.queue(Message{Person: "id-jmartin", To: "jean-francois.martin@academie.test", Name: "Martin, Jean-François \"le\r\nBcc: x@y.test\"", Subject: "Votre compte : une clé d’accès a été ajoutée\r\nBcc: mechant@ailleurs.test", Body: body, Lang: "fr"})
		if n := p.deliver(); n != 1 {
			t.Fatalf("%d sent", n)
		}
		got := server.Messages("jmartin", "INBOX")
		if len(got) != before+1 {
			t.Fatalf("%d messages", len(got))
		}
		var m *mail.Message
		for _, one := range got {
			if parsed, err := mail.ReadMessage(strings.NewReader(one)); err == nil {
				m = parsed
			}
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil || !strings.HasPrefix(subject, "Votre compte : une clé d’accès a été ajoutée") {
			t.Errorf("%q, %v", subject, err)
		}
		if m.Header.Get("Bcc") != "" || m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("Message-ID") == "" {
			t.Errorf("%v", m.Header)
		}
		if p.rows("sent IS NOT NULL AND message = ''") != 1 || p.deliver() != 0 {
			t.Error("it is sent twice, or its text is kept")
		}
	})
}

func TestMessageIsThereOnlyWithWhatItTells(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		p := newPost(t, d, Config{Submission: "127.0.0.1:1", TLS: "none", From: "a@b.test"})
		err := d.InTx(context.Background(), func(ctx context.Context) error {
			if err := p.Queue(ctx, Message{Person: "p", To: "p@b.test", Topic: "one"}); err != nil {
				t.Error(err)
			}
			return errors.New("undone")
		})
		if err == nil || p.rows("1 = 1") != 0 {
			t.Errorf("%v, %d rows", err, p.rows("1 = 1"))
		}
		for range 5 {
			p.queue(Message{Person: "p", To: "p@b.test", Topic: "one", Body: "a-link-that-locks"})
		}
		p.queue(Message{Person: "q", To: "q@b.test", Topic: "one"})
		p.queue(Message{Person: "p", To: "p@b.test", Topic: "two"})
		if n := p.rows("1 = 1"); n != 3 {
			t.Errorf("%d rows: the same news is told twice, or another's is not", n)
		}
		p.clock.Add(61_000_000)
		p.queue(Message{Person: "p", To: "p@b.test", Topic: "one"})
		if n := p.rows("1 = 1"); n != 4 {
			t.Errorf("%d rows", n)
		}
		if p.rows("message LIKE '%a-link%'") != 0 {
			t.Error("the text lies open")
		}
	})
}

// TestRow37ServerThatIsDownOrLiesLosesNothing: unreachable, hanging, answering
// nonsense, it costs the message time and nobody else anything.
func TestRow37ServerThatIsDownOrLiesLosesNothing(t *testing.T) {
	listen := func(answer string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = io.WriteString(c, answer)
					_, _ = io.Copy(io.Discard, c)
				}()
			}
		}()
		return l.Addr().String()
	}
	for name, address := range map[string]string{"nobody listens": "127.0.0.1:1", "nonsense": listen("HTTP/1.1 400 Bad Request\r\n\r\n"), "busy": listen("421 4.3.2 later\r\n"), "broken off": listen("220 hello\r\n220")} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t, dbtest.Open(t, "sqlite"), Config{Submission: address, TLS: "none", From: "a@b.test"})
			p.queue(Message{Person: "p", To: "p@b.test"})
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			if n, err := p.Deliver(ctx); n != 0 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
			if p.rows("sent IS NULL AND message <> ''") != 1 {
				t.Error("it is lost")
			}
			if waiting, err := p.Waiting(context.Background()); waiting != 1 || err != nil {
				t.Errorf("%d, %v", waiting, err)
			}
		})
	}
}

func TestMessageOutlivesAServerThatIsDown(t *testing.T) {
	server, config := dovecot(t)
	p := newPost(t, dbtest.Open(t, "sqlite"), config)
	server.Kill()
	p.known["id-jmartin"] = "jean-francois.martin@academie.test"
	p.queue(Message{Person: "id-jmartin", Subject: "suite", Body: "x"}) // its address is found when it leaves
	p.queue(Message{Person: "id-gone", Subject: "personne", Body: "x"})
	if p.deliver() != 0 {
		t.Fatal("sent without a server")
	}
	if p.deliver() != 0 {
		t.Error("tried again at once")
	}
	server.Start()
	p.clock.Add((2 * time.Minute).Microseconds())
	if n := p.deliver(); n != 1 {
		t.Errorf("%d sent", n)
	}
	if got := server.Messages("jmartin", "INBOX"); len(got) != 1 {
		t.Errorf("%d arrived", len(got))
	}
	if _, failed := p.Counts(); failed != 1 || p.rows("message = '' AND sent IS NULL") != 1 {
		t.Error("a person without an address is tried for ever")
	}
	p.queue(Message{Person: "x", To: "inconnu@academie.test", Subject: "refusé", Body: "x"})
	p.deliver()
	p.clock.Add((73 * time.Hour).Microseconds())
	p.deliver()
	if n := p.rows("message <> ''"); n != 0 {
		t.Errorf("%d are tried for ever", n)
	}
	p.clock.Add((73 * time.Hour).Microseconds())
	if n, err := p.Sweep(context.Background()); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestCertificateOfAStrangerIsRefused(t *testing.T) {
	server, config := dovecot(t)
	config.AuthorityFile = ""
	p := newPost(t, dbtest.Open(t, "sqlite"), config)
	p.queue(Message{Person: "p", To: "jean-francois.martin@academie.test"})
	if p.deliver() != 0 || config.Check(context.Background()) == nil {
		t.Error("sent to a server that nobody vouches for")
	}
	config.AuthorityFile = server.CAFile
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("not it"), 0o600); err != nil {
		t.Fatal(err)
	}
	config.PasswordFile = wrong
	if config.Check(context.Background()) == nil {
		t.Error("a wrong password is taken")
	}
}

func TestMistakesOfTheConfigurationAreNamed(t *testing.T) {
	for want, c := range map[string]Config{
		"mail.submission: is needed": {From: "a@b.test"}, "mail.submission: \"x\"": {Submission: "x", From: "a@b.test"}, "mail.tls: none": {Submission: "smtp.b.test:587", TLS: "none", From: "a@b.test"},
		"mail.tls: \"ssl\"": {Submission: "smtp.b.test:587", TLS: "ssl", From: "a@b.test"}, "mail.from": {Submission: "smtp.b.test:587"}, "go together": {Submission: "smtp.b.test:587", From: "a@b.test", User: "u"},
		"mail.authority_file": {Submission: "smtp.b.test:587", From: "a@b.test", AuthorityFile: "/nowhere"},
	} {
		var all []string
		for _, err := range c.Validate() {
			all = append(all, err.Error())
		}
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("%q not in %v", want, all)
		}
	}
	if errs := (Config{}).Validate(); len(errs) > 0 {
		t.Error(errs)
	}
}
