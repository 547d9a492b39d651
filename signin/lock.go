package signin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// A locked account is one that its person, or a helper, has shut: everything
// that lives of it ends, and the gate admits it nowhere, until the helpdesk has
// opened it again. It is not the pause after wrong guesses (LockState), which
// ends by itself.

var (
	// ErrLockReason says that a helper locks or opens without telling why.
	ErrLockReason = errors.New("signin: locking or opening somebody's account needs a reason")
	// ErrOpenOwn says that somebody tries to open their own account.
	ErrOpenOwn = errors.New("signin: nobody opens their own account")
)

// How an account came to be locked.
const (
	LockedBySelf   = "self"   // by the person, signed in
	LockedByLink   = "link"   // by the link of a message to the person
	LockedByCard   = "card"   // by the login and the code of the printed card
	LockedByHelper = "helper" // by somebody else
)

// Lock is a locked account.
type Lock struct {
	Person string
	Since  time.Time
	Way    string // one of LockedBySelf, LockedByLink, LockedByCard, LockedByHelper
	Actor  audit.Actor
	Reason string // a helper's
}

// severed is what a lock has ended.
type severed struct {
	since    time.Time
	sessions int  // browsers that were signed in
	already  bool // it was locked before
}

// OnLock registers what else a lock ends, before serving. It runs in the lock's
// transaction; its error undoes the lock.
func (s *Service) OnLock(fn func(ctx context.Context, actor audit.Actor, person string) error) {
	s.locking = append(s.locking, fn)
}

// Lock shuts the person's account and ends all that lives of it: sessions,
// tokens, mail connections, unfinished sign-ins, trusted devices. Whoever locks
// another's gives a reason. Locked twice, it keeps the first date, and what came
// to live meanwhile ends.
func (s *Service) Lock(ctx context.Context, actor audit.Actor, person, reason string) error {
	way := LockedByHelper
	if actor.Kind == "person" && actor.ID == person {
		way = LockedBySelf
	}
	if way == LockedByHelper && strings.TrimSpace(reason) == "" {
		return ErrLockReason
	}
	_, err := s.lock(ctx, actor, person, reason, way)
	return err
}

func (s *Service) lock(ctx context.Context, actor audit.Actor, person, reason, way string) (c severed, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		c = severed{since: s.now()}
		n, err := s.db.Exec(ctx, `INSERT INTO signin_lock (person, since, way, actor_kind, actor, actor_name, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (person) DO NOTHING`, person, db.At(c.since), way, actor.Kind, actor.ID, actor.Name, reason)
		if err != nil {
			return err
		}
		c.already = n == 0
		if c.sessions, err = s.sessions.Count(ctx, person); err != nil {
			return err
		}
		for _, hook := range s.locking {
			if err := hook(ctx, actor, person); err != nil {
				return err
			}
		}
		if err := s.endEverywhere(ctx, person); err != nil {
			return err
		}
		detail := map[string]string{"by": way, "sessions": fmt.Sprint(c.sessions)}
		if reason != "" {
			detail["reason"] = reason
		}
		if c.already {
			detail["already"] = "true"
		}
		if !c.already {
			if err := s.tellLock(ctx, actor, person, "lock", "mail.lock"); err != nil {
				return err
			}
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "signin.lock", Target: person, Outcome: "ok", Detail: detail})
	})
	if err != nil {
		return c, fmt.Errorf("lock the account of %s: %w", person, err)
	}
	return c, nil
}

// Open ends the lock. Whether the actor may, and has verified who asks, is the
// caller's question; nobody opens their own account, and a reason is needed.
// What slipped in while the lock was being closed ends now, and the links that
// were sent before lock no more. db.ErrNotFound when the account is not locked.
func (s *Service) Open(ctx context.Context, actor audit.Actor, person, reason string) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return ErrLockReason
	case actor.Kind == "person" && actor.ID == person:
		return ErrOpenOwn
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		var since db.Time
		if err := s.db.QueryRow(ctx, "DELETE FROM signin_lock WHERE person = $1 RETURNING since", person).Scan(&since); err != nil {
			return err
		}
		if _, err := s.db.Exec(ctx, "DELETE FROM signin_link WHERE person = $1", person); err != nil {
			return err
		}
		if err := s.endEverywhere(ctx, person); err != nil {
			return err
		}
		if err := s.tellLock(ctx, actor, person, "open", "mail.open"); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "signin.open", Target: person, Outcome: "ok",
			Detail: map[string]string{"reason": reason, "since": since.UTC().Format(time.RFC3339)}})
	})
	if err != nil {
		return fmt.Errorf("open the account of %s: %w", person, err)
	}
	return nil
}

// LockedSince tells since when the person's account is locked; zero when it is not.
func (s *Service) LockedSince(ctx context.Context, person string) (time.Time, error) {
	lock, err := s.LockOf(ctx, person)
	if errors.Is(err, db.ErrNotFound) {
		err = nil
	}
	return lock.Since, err
}

// LockOf returns the lock of a person's account, or db.ErrNotFound.
func (s *Service) LockOf(ctx context.Context, person string) (Lock, error) {
	l := Lock{Person: person}
	var since db.Time
	err := s.db.QueryRow(ctx, "SELECT since, way, actor_kind, actor, actor_name, reason FROM signin_lock WHERE person = $1", person).
		Scan(&since, &l.Way, &l.Actor.Kind, &l.Actor.ID, &l.Actor.Name, &l.Reason)
	l.Since = since.Time
	if err != nil {
		return Lock{}, fmt.Errorf("lock of %s: %w", person, err)
	}
	return l, nil
}

// lockedNow refuses a locked person. Within a transaction it sees that one's
// own view; what it lets slip is ended by Open at the latest, and admitted
// nowhere until then.
func (s *Service) lockedNow(ctx context.Context, person string) (bool, error) {
	since, err := s.LockedSince(ctx, person)
	return !since.IsZero(), err
}
