package signin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beffroi/directory"
	"beffroi/internal/db"
	"beffroi/internal/session"
)

// Why a person is not admitted.
const (
	Gone         = "gone"          // no longer in the directory
	Disabled     = "disabled"      // in it, and switched off
	NotInGroup   = "not_in_group"  // in none of the application's groups
	Locked       = "locked"        // locked by the person or a helper (Service.Lock)
	SessionEnded = "session_ended" // signed out, everywhere or here, or expired
	TooWeak      = "assurance"     // known less surely than the application asks; said by protocols, of what they keep
)

// ErrRefused is the error of Admit when the answer is no. When the directory
// or the database cannot answer, Admit returns another error: it never admits
// by accident.
type ErrRefused struct {
	Reason string           // one of Gone, Disabled, Locked, NotInGroup, SessionEnded, TooWeak
	Person directory.Person // as far as known
	Groups []string         // those that would open the application
}

func (e *ErrRefused) Error() string { return "signin: not admitted: " + e.Reason }

// Refused returns the refusal inside err, or nil.
func Refused(err error) *ErrRefused {
	var r *ErrRefused
	errors.As(err, &r)
	return r
}

// Gate lets people into applications. Directory facts are at most 60 seconds
// old (directory.Config.Remember).
type Gate struct {
	db        *db.DB
	directory directory.Directory
	sessions  *session.Store
	left      func(ctx context.Context, person, reason string) bool // ends what somebody who left still holds
}

// Admit is asked before anything is issued for a person: a code, a token, a
// refreshed or exchanged one. The person must be in the directory, not
// disabled nor locked, in one of the application's groups, and the session sid alive
// (an empty sid asks for no session). It returns the facts of now. Whoever turns
// out to have left is signed out everywhere on the way.
func (g *Gate) Admit(ctx context.Context, personID string, app Application, sid string) (directory.Person, error) {
	if sid != "" {
		sess, err := g.sessions.Alive(ctx, sid)
		if errors.Is(err, db.ErrNotFound) || err == nil && sess.Person != personID {
			return directory.Person{}, &ErrRefused{Reason: SessionEnded, Groups: app.Policy.Groups}
		}
		if err != nil {
			return directory.Person{}, fmt.Errorf("admit to %s: %w", app.ID, err)
		}
	}
	var locked db.Time
	err := g.db.QueryRow(ctx, "SELECT since FROM signin_lock WHERE person = $1", personID).Scan(&locked)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return directory.Person{}, fmt.Errorf("admit to %s: %w", app.ID, err)
	}
	return g.enter(ctx, personID, app, !locked.IsZero())
}

// enter asks the directory. A lock hides what the groups would say, and nothing
// hides that somebody has left.
func (g *Gate) enter(ctx context.Context, personID string, app Application, locked bool) (directory.Person, error) {
	person, err := g.directory.ByID(ctx, personID)
	if errors.Is(err, directory.ErrUnknown) {
		g.left(ctx, personID, Gone)
		return directory.Person{}, &ErrRefused{Reason: Gone, Groups: app.Policy.Groups}
	}
	if err != nil {
		return directory.Person{}, fmt.Errorf("admit to %s: %w", app.ID, err)
	}
	err = admit(person, app)
	if no := Refused(err); no != nil && no.Reason == Disabled {
		g.left(ctx, personID, Disabled)
	} else if locked {
		err = &ErrRefused{Reason: Locked, Person: person, Groups: app.Policy.Groups}
	}
	return person, err
}

// AdmitOffline is Admit for a token that outlives its session
// (offline_access): no session is needed, but the proof behind the token, its
// auth_time, must be later than the person's last sign-out everywhere or reset.
func (g *Gate) AdmitOffline(ctx context.Context, personID string, app Application, proven time.Time) (directory.Person, error) {
	var ended, locked db.Time
	err := g.db.QueryRow(ctx, "SELECT (SELECT ended FROM signin_ended WHERE person = $1), (SELECT since FROM signin_lock WHERE person = $1)", personID).Scan(&ended, &locked)
	if err != nil {
		return directory.Person{}, fmt.Errorf("admit to %s: %w", app.ID, err)
	}
	if !ended.IsZero() && !proven.After(ended.Time) {
		return directory.Person{}, &ErrRefused{Reason: SessionEnded, Groups: app.Policy.Groups}
	}
	return g.enter(ctx, personID, app, !locked.IsZero())
}

// admit is the rule itself, on facts already at hand.
func admit(person directory.Person, app Application) error {
	switch {
	case person.ID == "":
		return &ErrRefused{Reason: Gone, Groups: app.Policy.Groups}
	case person.Disabled:
		return &ErrRefused{Reason: Disabled, Person: person, Groups: app.Policy.Groups}
	case !app.Policy.allows(person):
		return &ErrRefused{Reason: NotInGroup, Person: person, Groups: app.Policy.Groups}
	}
	return nil
}
