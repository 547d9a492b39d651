package oidc

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// KickConfig lets the provider close mail connections: Dovecot looks at a token
// when a connection is opened, and never again.
type KickConfig struct {
	URLs     []string `yaml:"urls"`     // doveadm's HTTP interface of each server: http://127.0.0.1:8080/doveadm/v1
	KeyFile  string   `yaml:"key_file"` // holds its doveadm_api_key
	Audience string   `yaml:"audience"` // of the tokens that open mailboxes: imap
	User     string   `yaml:"user"`     // the server's name of a person: {login}
}

const noticeKick = "kick" // to the mail servers: close the person's connections

func (c KickConfig) withDefaults() KickConfig {
	if c.Audience == "" {
		c.Audience = "imap"
	}
	if c.User == "" {
		c.User = "{login}"
	}
	return c
}

func (c KickConfig) validate() (all []error) {
	for _, address := range c.URLs {
		if err := checkOutside(address); err != nil {
			all = append(all, fmt.Errorf("kick.urls: %q %w", address, err))
		}
	}
	switch {
	case len(c.URLs) == 0 && c.KeyFile != "":
		all = append(all, errors.New("kick.key_file: is of no use without kick.urls"))
	case len(c.URLs) > 0 && c.KeyFile == "":
		all = append(all, errors.New("kick.key_file: is needed: a file with the doveadm_api_key"))
	case c.KeyFile != "":
		if _, err := c.open(); err != nil {
			all = append(all, err)
		}
	}
	if c.User != "" && !strings.Contains(c.User, "{login}") {
		all = append(all, errors.New("kick.user: must contain {login}"))
	}
	return all
}

// kick closes mail connections; nil when none is configured.
type kick struct {
	cfg KickConfig
	key secret.String
}

func (c KickConfig) open() (*kick, error) {
	if len(c.URLs) == 0 {
		return nil, nil
	}
	text, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("kick.key_file: %w", err)
	}
	key := strings.TrimSpace(string(text))
	if key == "" {
		return nil, errors.New("kick.key_file: is empty")
	}
	return &kick{c.withDefaults(), secret.String(key)}, nil
}

// noteMailbox remembers by which login a mail server knows the person of a token
// made for it. Once the person has left, nobody else could tell.
func (p *Provider) noteMailbox(ctx context.Context, i *issue) error {
	if p.kick == nil || i.person.Login == "" || !audienceHas(i.stores.Audience, p.kick.cfg.Audience) {
		return nil
	}
	var known bool // read first: most tokens are for people who have had one today
	now := p.now()
	err := p.store.db.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM oidc_mailbox WHERE person = $1 AND login = $2 AND noted > $3)", i.person.ID, i.person.Login, db.At(now.Add(-24*time.Hour))).Scan(&known)
	if err == nil && !known {
		_, err = p.store.db.Exec(ctx, `INSERT INTO oidc_mailbox (person, login, noted) VALUES ($1, $2, $3)
			ON CONFLICT (person) DO UPDATE SET login = excluded.login, noted = excluded.noted`, i.person.ID, i.person.Login, db.At(now))
	}
	if err != nil {
		return fmt.Errorf("note mailbox: %w", err)
	}
	return nil
}

// kickAlways closes whatever mail connections the person has.
func (p *Provider) kickAlways(ctx context.Context, person string) error {
	return p.addKick(ctx, person, "")
}

// kickFor closes the person's mail connections because authorizations have
// ended whose applications may open mailboxes. Authorizations with
// offline_access that outlive their session keep theirs. The server knows
// connections by person and not by token, so those of another session are
// closed as well; their tokens are good, and they come back by themselves.
func (p *Provider) kickFor(ctx context.Context, person, sid string, ended []party) error {
	if p.kick == nil {
		return nil
	}
	opens := func(one party) bool {
		c, err := p.clients.Get(ctx, one.client)
		return err == nil && slices.Contains(c.ExchangeTo, p.kick.cfg.Audience)
	}
	if !slices.ContainsFunc(ended, opens) {
		return nil
	}
	return p.addKick(ctx, person, sid)
}

// addKick queues a kick for a person who has had a token for the mail server.
func (p *Provider) addKick(ctx context.Context, person, sid string) error {
	if p.kick == nil {
		return nil
	}
	var login string
	err := p.store.db.QueryRow(ctx, "SELECT login FROM oidc_mailbox WHERE person = $1", person).Scan(&login)
	if errors.Is(err, db.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mailbox of %s: %w", person, err)
	}
	p.wakeAfterCommit(ctx)
	return p.store.addNotice(ctx, notice{Kind: noticeKick, Person: person, SID: sid, Login: login, once: sid})
}

// closeMail asks every mail server to forget that the person's tokens were good
// and to close the connections.
func (p *Provider) closeMail(ctx context.Context, n notice) error {
	if p.kick == nil {
		return errNothingToTell
	}
	if strings.ContainsAny(n.Login, "*?") {
		return fmt.Errorf("the login %q would be a pattern for doveadm", n.Login)
	}
	user := strings.ReplaceAll(p.kick.cfg.User, "{login}", strings.ToLower(n.Login))
	for _, address := range p.kick.cfg.URLs {
		if err := p.doveadm(ctx, address, user); err != nil {
			return err
		}
	}
	return nil
}

// CheckKick asks every mail server of the configuration whether it takes the key.
func CheckKick(ctx context.Context, c Config) error {
	k, err := c.Kick.open()
	if err != nil || k == nil {
		return err
	}
	out, err := c.outside()
	if err != nil {
		return err
	}
	for _, address := range k.cfg.URLs {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		k.authorize(r)
		text, err := out.do(r, 256<<10) // its list of commands
		if err != nil {
			return err
		}
		if !bytes.Contains(text, []byte(`"kick"`)) {
			return fmt.Errorf("%s: the answer is not doveadm's", address)
		}
	}
	return nil
}

func (k *kick) authorize(r *http.Request) {
	r.Header.Set("Authorization", "X-Dovecot-API "+base64.StdEncoding.EncodeToString([]byte(k.key.Reveal())))
}

// nobodyConnected is doveadm's exit code when there is nothing to close
// (EX_NOHOST of sysexits.h).
const nobodyConnected = 68

// doveadm runs two commands of Dovecot's HTTP interface: the authentication
// cache first, or a client that comes back at once would be let in by it.
func (p *Provider) doveadm(ctx context.Context, address, user string) error {
	body, err := json.Marshal([]any{
		[]any{"authCacheFlush", map[string]any{"user": []string{user}}, "flush"},
		[]any{"kick", map[string]any{"mask": []string{user}}, "kick"},
	})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	p.kick.authorize(r)
	text, err := p.outside.do(r, 64<<10)
	if err != nil {
		return err
	}
	var answers [][]json.RawMessage // ["doveadmResponse" | "error", what, tag]
	if err := json.Unmarshal(text, &answers); err != nil || len(answers) != 2 {
		return fmt.Errorf("%s: the answer is not doveadm's: %.200q", address, text)
	}
	for _, a := range answers {
		if err := doveadmFailure(a); err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
	}
	return nil
}

func doveadmFailure(answer []json.RawMessage) error {
	var kind, tag string
	var why struct {
		Type     string `json:"type"`
		ExitCode int    `json:"exitCode"`
	}
	if len(answer) != 3 || json.Unmarshal(answer[0], &kind) != nil || json.Unmarshal(answer[2], &tag) != nil {
		return errors.New("the answer is not doveadm's")
	}
	if kind != "error" {
		return nil
	}
	if err := json.Unmarshal(answer[1], &why); err != nil {
		return fmt.Errorf("%s failed", tag)
	}
	if tag == "kick" && why.Type == "exitCode" && why.ExitCode == nobodyConnected {
		return nil
	}
	return fmt.Errorf("%s failed: %s %d", tag, why.Type, why.ExitCode)
}

// sweepMailboxes forgets logins that no living authorization can have used.
func (p *Provider) sweepMailboxes(ctx context.Context) (int64, error) {
	n, err := p.store.db.Exec(ctx, "DELETE FROM oidc_mailbox WHERE noted < $1", db.At(p.now().Add(-p.cfg.OfflineMost-p.cfg.SessionMost)))
	if err != nil {
		return 0, fmt.Errorf("sweep mailboxes: %w", err)
	}
	return n, nil
}
