package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/internal/web"
	"beffroi/templates"
)

// A link in a message to a person, "it was not me": it locks the account, once,
// and does nothing else. Opened, it only asks, for mail filters open links too.

const (
	lockPurpose  = "lock"
	lockLinkLife = 30 * 24 * time.Hour
)

// linkHash is what is stored of a link. A secret made for another purpose has
// another hash.
func linkHash(purpose, token string) string { return secret.Hash(purpose + ":" + token) }

// LockLink returns an address that locks the person's account, once, within 30
// days. It goes into messages to the person and nowhere else. It joins the
// caller's transaction.
func (s *Service) LockLink(ctx context.Context, person string) (string, error) {
	token := secret.Random()
	_, err := s.db.Exec(ctx, "INSERT INTO signin_link (hash, purpose, person, created, ends) VALUES ($1, $2, $3, $4, $5)",
		linkHash(lockPurpose, token), lockPurpose, person, db.At(s.now()), db.At(s.now().Add(lockLinkLife)))
	if err != nil {
		return "", fmt.Errorf("make a link for %s: %w", person, err)
	}
	return s.address + "/account/notme?token=" + url.QueryEscape(token), nil
}

// link is a link as it was sent.
type link struct {
	person    string
	used      bool
	tooOld    bool
	presented string // its hash
}

// linkOf finds the link of a token; db.ErrNotFound when there is none for this
// purpose.
func (s *Service) linkOf(ctx context.Context, purpose, token string) (link, error) {
	if len(token) != 43 {
		return link{}, db.ErrNotFound
	}
	l := link{presented: linkHash(purpose, token)}
	var ends, used db.Time
	err := s.db.QueryRow(ctx, "SELECT person, ends, used FROM signin_link WHERE hash = $1 AND purpose = $2", l.presented, purpose).Scan(&l.person, &ends, &used)
	if err != nil {
		return link{}, err
	}
	l.used, l.tooOld = !used.IsZero(), !s.now().Before(ends.Time)
	return l, nil
}

// spendLink uses the link up: true for one caller only.
func (s *Service) spendLink(ctx context.Context, l link) (bool, error) {
	n, err := s.db.Exec(ctx, "UPDATE signin_link SET used = $1 WHERE hash = $2 AND used IS NULL AND ends > $1", db.At(s.now()), l.presented)
	if err != nil {
		return false, fmt.Errorf("use a link of %s: %w", l.person, err)
	}
	return n == 1, nil
}

// showNotMe answers GET /account/notme: whose account the button would lock.
func (s *Service) showNotMe(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("token")
	page := &templates.AccountNotme{Contact: s.contact()}
	l, err := s.linkOf(r.Context(), lockPurpose, token)
	switch {
	case errors.Is(err, db.ErrNotFound):
		page.State = "unknown"
	case err != nil:
		return err
	case l.used:
		page.State = "used"
	case l.tooOld:
		page.State = "expired"
	default:
		return s.askNotMe(w, r, page, l, token)
	}
	return s.renderAccount(w, r, http.StatusGone, "account.notme.title", page)
}

func (s *Service) askNotMe(w http.ResponseWriter, r *http.Request, page *templates.AccountNotme, l link, token string) error {
	person, err := s.directory.ByID(r.Context(), l.person)
	if err != nil && !errors.Is(err, directory.ErrUnknown) {
		return s.directoryDown(err)
	}
	locked, err := s.lockedNow(r.Context(), l.person)
	if err != nil {
		return err
	}
	page.State, page.Token, page.Name, page.Login = "ask", token, displayName(person), person.Login
	if locked {
		page.State = "locked"
	}
	return s.renderAccount(w, r, http.StatusOK, "account.notme.title", page)
}

// errLinkSpent: the link was used by another request meanwhile.
var errLinkSpent = errors.New("signin: the link was used already")

// postNotMe answers POST /account/notme, field token: it locks.
func (s *Service) postNotMe(w http.ResponseWriter, r *http.Request) error {
	token := web.Field(r, "token")
	l, err := s.linkOf(r.Context(), lockPurpose, token)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	var c severed
	if err == nil {
		err = s.db.InTx(r.Context(), func(ctx context.Context) error {
			ok, err := s.spendLink(ctx, l)
			if err != nil {
				return err
			}
			if !ok {
				return errLinkSpent
			}
			// The link proves the mailbox, not the person: nobody is named as its author.
			c, err = s.lock(ctx, audit.Anonymous(), l.person, "", LockedByLink)
			return err
		})
	}
	switch {
	case errors.Is(err, db.ErrNotFound), errors.Is(err, errLinkSpent):
		s.audit.Refuse(r.Context(), audit.Anonymous(), audit.Event{Action: "signin.lock", Target: l.person, Outcome: "refused", Detail: map[string]string{"by": LockedByLink, "reason": "link"}})
		return web.Redirect(w, r, "/account/notme?token="+url.QueryEscape(token)) // says why
	case err != nil:
		return err
	}
	return s.renderCut(w, r, l.person, c)
}
