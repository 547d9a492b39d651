package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-smtp"
)

// MailDomain is the domain whose mail the demo delivers.
const MailDomain = "academie.test"

// Audiences and scopes that the servers of the demo ask of a token. Submission
// serves the mail module's token too: one audience for both.
const (
	MailAudience = "imap"
	MailScope    = "mail"
)

// Account is one person as the mail and DAV servers know them. Besides Mail,
// the address login@academie.test always reaches the person.
type Account struct {
	Login   string
	Name    string // "Marie Dupont"
	Mail    string
	Aliases []string
	Lang    string // "fr" or "en": the language of the sample content
	UAI     string // school code; persons of one school share its calendar
	School  string // the school's name
}

// Addresses lists every address of the person, lower case, without doubles.
func (a Account) Addresses() []string {
	var list []string
	for _, address := range append([]string{a.Mail, a.Login + "@" + MailDomain}, a.Aliases...) {
		address = strings.ToLower(strings.TrimSpace(address))
		if address != "" && !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	return list
}

// MailConfig describes the two mail servers.
type MailConfig struct {
	IMAPAddr       string // "127.0.0.1:0" for any free port
	SubmissionAddr string
	Introspect     Introspector
	People         []Account
	Mailer         string // password of MailerUser; empty: there is none
	Outside        string // folder of what MailerUser sends outside the academy; empty: it is refused
	// LongestSession ends an IMAP or submission connection even when its token
	// lives on; default 1 h.
	LongestSession time.Duration
	Log            *slog.Logger
	Now            func() time.Time
}

// MailServer is an IMAP and a submission server over mailboxes kept in memory.
type MailServer struct {
	IMAPAddr       string // host:port listened on
	SubmissionAddr string

	config MailConfig
	start  time.Time
	post   *postOffice

	imap       *imapserver.Server
	submission *smtp.Server
	doors      [2]*door
	serving    sync.WaitGroup // the two Serve loops
	sessions   sync.WaitGroup // IMAP sessions: the library does not wait for them
}

// StartMail listens at once and returns; mailboxes are filled when a person
// first opens or receives mail.
func StartMail(c MailConfig) (*MailServer, error) {
	if c.Introspect == nil {
		return nil, errors.New("demo mail: no introspector")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.LongestSession <= 0 {
		c.LongestSession = time.Hour
	}
	post, err := newPostOffice(c.People, c.Now)
	if err != nil {
		return nil, err
	}
	s := &MailServer{config: c, start: c.Now(), post: post}
	s.imap = s.newIMAP()
	s.submission = s.newSubmission()
	for i, addr := range []string{c.IMAPAddr, c.SubmissionAddr} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			if i > 0 {
				s.doors[0].Close()
			}
			return nil, fmt.Errorf("demo mail: %w", err)
		}
		s.doors[i] = newDoor(ln)
	}
	s.IMAPAddr, s.SubmissionAddr = s.doors[0].Addr().String(), s.doors[1].Addr().String()
	s.serve("imap", func() error { return s.imap.Serve(s.doors[0]) })
	s.serve("submission", func() error { return s.submission.Serve(s.doors[1]) })
	return s, nil
}

func (s *MailServer) serve(name string, loop func() error) {
	s.serving.Go(func() {
		if err := loop(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.config.Log.Error("demo mail server stopped", "server", name, "error", err)
		}
	})
}

// Close ends every connection and returns when no goroutine of the servers is
// left, or after 5 s or at ctx's end with that error.
func (s *MailServer) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, d := range s.doors {
		d.hangUp()
	}
	// Shutdown waits for the connections just closed; Close would not.
	err := s.submission.Shutdown(ctx)
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if cerr := s.imap.Close(); cerr != nil && err == nil && !errors.Is(cerr, net.ErrClosed) {
		err = cerr
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serving.Wait()
		s.sessions.Wait()
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// identify checks a token for the mail servers and finds whose it is.
// authzid is the name the client claims: it must be the token's own.
func (s *MailServer) identify(ctx context.Context, authzid, token string) (*maildrop, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := s.config.Introspect(ctx, token)
	if err != nil {
		return nil, time.Time{}, err
	}
	now := s.config.Now()
	if err := answer.Grants(MailAudience, MailScope, now); err != nil {
		return nil, time.Time{}, err
	}
	if authzid != answer.Username {
		return nil, time.Time{}, fmt.Errorf("%w: %q asked for with the token of %q", errRefused, authzid, answer.Username)
	}
	drop := s.post.of(answer.Username)
	if drop == nil {
		return nil, time.Time{}, fmt.Errorf("%w: no mailbox for %q", errRefused, answer.Username)
	}
	end := now.Add(s.config.LongestSession)
	if !answer.Expires.IsZero() && answer.Expires.Before(end) {
		end = answer.Expires
	}
	return drop, end, nil
}
