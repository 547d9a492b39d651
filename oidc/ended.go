package oidc

import (
	"context"
	"fmt"
	"slices"

	"beffroi/internal/db"
)

// party is an application that has something of a session.
type party struct{ client, sid string }

// SessionEnded is signin's OnEnd hook: with a sid, what lives by that session
// ends and offline_access stays (Back-Channel Logout §2.7); without, all ends.
// Every application that had something of it is told, by a notice that is
// written in the same transaction.
func (p *Provider) SessionEnded(ctx context.Context, person, sid string) error {
	return p.store.db.InTx(ctx, func(ctx context.Context) error {
		if err := p.store.unask(ctx, person, sid); err != nil {
			return err
		}
		if sid == "" {
			ended, err := p.store.endPerson(ctx, person)
			if err != nil {
				return err
			}
			if err := p.kickAlways(ctx, person); err != nil {
				return err
			}
			return p.announceAll(ctx, person, ended)
		}
		present, err := p.store.parties(ctx, person, sid)
		if err != nil {
			return err
		}
		ended, err := p.store.endSession(ctx, person, sid)
		if err != nil {
			return err
		}
		if err := p.kickFor(ctx, person, sid, ended); err != nil {
			return err
		}
		return p.announceSession(ctx, person, present)
	})
}

// EndApplication ends what one application holds of a person and tells it: the
// person, or somebody acting for the academy, has taken it back.
func (p *Provider) EndApplication(ctx context.Context, person, client string) error {
	return p.store.db.InTx(ctx, func(ctx context.Context) error {
		ended, err := p.store.ended(ctx, "person = $2 AND client = $3", person, client)
		if err != nil {
			return err
		}
		if err := p.kickFor(ctx, person, "", ended); err != nil {
			return err
		}
		return p.announceAll(ctx, person, ended)
	})
}

// announceSession tells the applications of one session that it has ended: once
// each, however often its end is noticed.
func (p *Provider) announceSession(ctx context.Context, person string, present []party) error {
	for _, one := range present {
		c, err := p.hears(ctx, one.client)
		if err != nil {
			return err
		}
		if c == nil {
			continue
		}
		if err := p.store.addNotice(ctx, notice{Kind: noticeApplication, Client: one.client, Person: person, SID: one.sid, once: one.sid}); err != nil {
			return err
		}
	}
	p.wakeAfterCommit(ctx)
	return nil
}

// announceAll tells applications that everything of the person has ended: of
// each session that they had a part in, since some (mod_auth_openidc) find their
// own by nothing else, and, where they may do without a sid, of the person as a whole.
func (p *Provider) announceAll(ctx context.Context, person string, ended []party) error {
	told := map[party]bool{}
	tell := func(one party) error {
		if told[one] {
			return nil
		}
		told[one] = true
		return p.store.addNotice(ctx, notice{Kind: noticeApplication, Client: one.client, Person: person, SID: one.sid})
	}
	for _, one := range ended {
		c, err := p.hears(ctx, one.client)
		if err != nil {
			return err
		}
		if c == nil {
			continue
		}
		if err := tell(one); err != nil {
			return err
		}
		if c.BackchannelSession {
			continue
		}
		if err := tell(party{client: one.client}); err != nil {
			return err
		}
	}
	p.wakeAfterCommit(ctx)
	return nil
}

// Holds tells whether the person has a living authorization (signin.Holder).
func (p *Provider) Holds(ctx context.Context, person string) (some bool, err error) {
	err = p.store.db.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM oidc_grant WHERE person = $1 AND ended IS NULL AND ends > $2)", person, db.At(p.now())).Scan(&some)
	if err != nil {
		return false, fmt.Errorf("authorizations of %s: %w", person, err)
	}
	return some, nil
}

// Holders are people with a living authorization, by ID (signin.Holder).
func (p *Provider) Holders(ctx context.Context, after string, n int) ([]string, error) {
	all, err := db.All(ctx, p.store.db, func(scan func(...any) error) (id string, err error) { return id, scan(&id) },
		"SELECT DISTINCT person FROM oidc_grant WHERE person > $1 AND ended IS NULL AND ends > $2 ORDER BY person LIMIT $3", after, db.At(p.now()), n)
	if err != nil {
		return nil, fmt.Errorf("people with authorizations: %w", err)
	}
	return all, nil
}

// parties are the applications with a living authorization of the session.
func (s *store) parties(ctx context.Context, person, sid string) ([]party, error) {
	all, err := db.All(ctx, s.db, func(scan func(...any) error) (one party, err error) { return one, scan(&one.client, &one.sid) },
		"SELECT DISTINCT client, sid FROM oidc_grant WHERE person = $1 AND sid = $2 AND ended IS NULL", person, sid)
	if err != nil {
		return nil, fmt.Errorf("applications of a session: %w", err)
	}
	return all, nil
}

// endSession ends what lives by one session: authorizations without
// offline_access. It returns whose they were.
func (s *store) endSession(ctx context.Context, person, sid string) ([]party, error) {
	return s.ended(ctx, "person = $2 AND sid = $3 AND NOT offline", person, sid)
}

// endPerson ends every authorization of the person and returns whose they were.
func (s *store) endPerson(ctx context.Context, person string) ([]party, error) {
	return s.ended(ctx, "person = $2", person)
}

// ended ends the living authorizations that match, each once whoever ends them
// at the same time, and returns whose they were.
func (s *store) ended(ctx context.Context, which string, args ...any) ([]party, error) {
	all, err := db.All(ctx, s.db, func(scan func(...any) error) (one party, err error) { return one, scan(&one.client, &one.sid) },
		"UPDATE oidc_grant SET ended = $1 WHERE "+which+" AND ended IS NULL RETURNING client, sid", slices.Insert(args, 0, any(db.At(s.now())))...)
	if err != nil {
		return nil, fmt.Errorf("end authorizations: %w", err)
	}
	return all, nil
}
