package signin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/session"
)

// Somebody whom the directory has lost or switched off is refused by the gate
// at once. Here what they still hold is ended, so that applications and the mail
// server hear of it: when the gate meets them, and by a look at everybody who
// holds something.
const (
	// leaversMost bounds how many people a minute are ended for what the
	// directory says: should it answer nonsense one day (an empty replica, a
	// lost right to read), it cannot sign the whole academy out.
	leaversMost = 60
	// lookMost is how many people with sessions, and how many with anything else,
	// are looked at in one round of Watch.
	lookMost  = 500
	lookEvery = time.Minute
)

// Holder keeps something of people beyond their sessions, such as tokens.
type Holder interface {
	// Holds tells whether something of the person lives.
	Holds(ctx context.Context, person string) (bool, error)
	// Holders returns up to n people of whom something lives, those after the
	// given ID, in an order of its own that does not change.
	Holders(ctx context.Context, after string, n int) ([]string, error)
}

// sessionHolder is the sessions themselves.
type sessionHolder struct{ *session.Store }

func (h sessionHolder) Holds(ctx context.Context, person string) (bool, error) {
	n, err := h.Count(ctx, person)
	return n > 0, err
}

func (h sessionHolder) Holders(ctx context.Context, after string, n int) ([]string, error) {
	return h.People(ctx, after, n)
}

// leavers is what a look must know of the one before.
type leavers struct {
	looking sync.Mutex // one look at a time
	after   []string   // by holder: the last person looked at

	mu     sync.Mutex
	minute time.Time
	ended  int
	now    map[string]bool // being ended by another request
}

// AlsoHolds registers who else keeps something of people, before serving.
func (s *Service) AlsoHolds(h Holder) { s.holders = append(s.holders, h) }

// left ends everything of a person whom the directory says is gone or disabled,
// once, and says whether there was something to end. It never fails the refusal
// that it comes with.
func (s *Service) left(ctx context.Context, person, reason string) bool {
	if !s.leavers.begin(person) {
		return false
	}
	defer s.leavers.done(person)
	ctx = context.WithoutCancel(ctx)
	ends, err := s.holds(ctx, person)
	if ends = ends && s.mayEnd(); ends && err == nil {
		err = s.db.InTx(ctx, func(ctx context.Context) error {
			if err := s.endEverywhere(ctx, person); err != nil {
				return err
			}
			return s.audit.Record(ctx, audit.System("directory"), audit.Event{Action: "signout.left", Target: person, Outcome: "ok", Detail: map[string]string{"reason": reason}})
		})
	}
	if err != nil {
		s.log.ErrorContext(ctx, "somebody who left could not be signed out; tried again soon", "person", person, "error", err)
	}
	return ends && err == nil
}

// begin lets one request at a time end what a person holds: hundreds may be
// refused in the same second.
func (l *leavers) begin(person string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now[person] {
		return false
	}
	if l.now == nil {
		l.now = map[string]bool{}
	}
	l.now[person] = true
	return true
}

func (l *leavers) done(person string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.now, person)
}

// holds tells whether a person has anything that could be ended.
func (s *Service) holds(ctx context.Context, person string) (bool, error) {
	for _, h := range s.holders {
		if some, err := h.Holds(ctx, person); some || err != nil {
			return some, err
		}
	}
	return false, nil
}

// mayEnd counts, and says no when too many are ended in one minute.
func (s *Service) mayEnd() bool {
	l := &s.leavers
	l.mu.Lock()
	defer l.mu.Unlock()
	if minute := s.now().Truncate(time.Minute); !minute.Equal(l.minute) {
		l.minute, l.ended = minute, 0
	}
	if l.ended++; l.ended <= leaversMost {
		return true
	}
	if l.ended == leaversMost+1 {
		s.log.Error("more people left the directory in one minute than is believable: they are refused, and signed out later; is the directory whole?", "limit", leaversMost)
	}
	return false
}

// Watch looks at people who hold something, until ctx ends.
func (s *Service) Watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := s.LookForLeavers(ctx); err != nil && ctx.Err() == nil {
				s.log.ErrorContext(ctx, "look for people who left", "error", err)
			}
		}
	}
}

// LookForLeavers looks at the next people who have a living session or hold
// something else, signs out those who have left, and returns how many.
func (s *Service) LookForLeavers(ctx context.Context) (gone int, err error) {
	l := &s.leavers
	l.looking.Lock()
	defer l.looking.Unlock()
	l.after = append(l.after, make([]string, len(s.holders)-len(l.after))...)
	seen := map[string]bool{}
	for i, h := range s.holders {
		people, err := h.Holders(ctx, l.after[i], lookMost)
		if err != nil {
			return gone, err
		}
		for _, id := range people {
			if !seen[id] {
				seen[id] = true
				reason, err := s.reasonToLeave(ctx, id)
				if err != nil {
					return gone, err // from this one again, next time
				}
				if reason != "" && s.left(ctx, id, reason) {
					gone++
				}
			}
			l.after[i] = id
		}
		if len(people) < lookMost {
			l.after[i] = "" // from the beginning, next time
		}
	}
	return gone, nil
}

// reasonToLeave is why the gate would admit a person nowhere; "" when it might.
func (s *Service) reasonToLeave(ctx context.Context, id string) (string, error) {
	person, err := s.directory.ByID(ctx, id)
	switch {
	case errors.Is(err, directory.ErrUnknown):
		return Gone, nil
	case err != nil:
		return "", fmt.Errorf("look at %s: %w", id, err)
	case person.Disabled:
		return Disabled, nil
	}
	return "", nil
}
