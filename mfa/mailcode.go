package mfa

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// What a code by e-mail is good for, and for nothing else.
const (
	MailConfirm = "confirm" // an address becomes the person's
	MailSignIn  = "signin"
	MailDesk    = "desk" // read to a helper
)

const (
	mailDigits = 8
	mailLife   = 10 * time.Minute
	mailTries  = 5
)

// mailCaps bound how many codes are sent. A whole school sits behind one
// network.
var mailCaps = []struct {
	of        string
	hour, day int
}{{"person", 5, 15}, {"network", 60, 300}, {"address", 5, 15}}

// ErrTooManyCodes says that enough codes were sent to this person, from this
// network or to this address for now.
var ErrTooManyCodes = errors.New("mfa: too many codes sent")

// errInTransaction says that what must count is about to be written where it
// could be undone.
var errInTransaction = errors.New("mfa: a code by e-mail is sent and tried outside a transaction")

// MailCode says what a code is for. It is good for the same four only.
type MailCode struct {
	Person  string
	Purpose string // MailConfirm, MailSignIn or MailDesk
	Attempt string // the flow or session that asked
}

// MailTo is where a code goes.
type MailTo struct {
	Typed     string   // MailConfirm: the new address; else it goes to the one that counts
	Mailboxes []string // the person's addresses in the directory, whose domains are refused
}

// mailKind is how the address is counted, listed and removed. Codes on their
// way end with it.
func mailKind() kind {
	return kind{
		tables: []string{"mfa_mail", "mfa_mail_code"},
		held:   "SELECT 'mail' AS method FROM mfa_mail WHERE person = $1 AND CAST($2 AS BIGINT) IS NOT NULL",
		list: func(s *Service, ctx context.Context, person string) ([]Factor, error) {
			return db.All(ctx, s.db, func(scan func(...any) error) (Factor, error) {
				f, _, err := scanMail(scan)
				return f, err
			}, "SELECT "+mailColumns+" FROM mfa_mail WHERE person = $1", person)
		},
		remove: func(s *Service, ctx context.Context, person, id string) (Factor, error) {
			f, _, err := scanMail(s.db.QueryRow(ctx, "DELETE FROM mfa_mail WHERE person = $1 AND id = $2 RETURNING "+mailColumns, person, id).Scan)
			if err != nil {
				return f, err
			}
			_, err = s.db.Exec(ctx, "DELETE FROM mfa_mail_code WHERE person = $1", person)
			return f, err
		},
	}
}

const mailColumns = "id, address, created, used"

func scanMail(scan func(...any) error) (f Factor, address string, err error) {
	f.Kind = Mail
	var created, used db.Time
	err = scan(&f.ID, &address, &created, &used)
	f.Created, f.Used, f.Detail = created.Time, used.Time, Masked(address)
	return f, address, err
}

// MailCodes tells whether codes are sent by e-mail at all.
func (s *Service) MailCodes() bool { return s.mailCodes.Enabled }

// MailAddress is where the person's codes go; empty when there is no such address.
func (s *Service) MailAddress(ctx context.Context, person string) (string, error) {
	_, address, err := s.mailOf(ctx, person)
	if errors.Is(err, db.ErrNotFound) {
		return "", nil
	}
	return address, err
}

func (s *Service) mailOf(ctx context.Context, person string) (Factor, string, error) {
	f, address, err := scanMail(s.db.QueryRow(ctx, "SELECT "+mailColumns+" FROM mfa_mail WHERE person = $1", person).Scan)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		err = fmt.Errorf("mail address of %s: %w", person, err)
	}
	return f, address, err
}

// MailCodeSent is where a code of this attempt went that can still be tried;
// empty when there is none.
func (s *Service) MailCodeSent(ctx context.Context, c MailCode) (address string, err error) {
	err = s.db.QueryRow(ctx, "SELECT address FROM mfa_mail_code WHERE person = $1 AND purpose = $2 AND attempt = $3 AND ends > $4 AND tries < $5",
		c.Person, c.Purpose, c.Attempt, db.At(s.now()), mailTries).Scan(&address)
	if errors.Is(err, db.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("code for %s: %w", c.Person, err)
	}
	return address, nil
}

// SendMailCode makes a code, in the place of any before it of the same attempt,
// and has post queue the message, in one transaction. It returns the address.
// ErrAddress, ErrOwnAddress, ErrTooManyCodes, or ErrNoFactor when there is no
// address that counts. What was sent is counted before, for good: not within a
// transaction of the caller.
func (s *Service) SendMailCode(ctx context.Context, actor audit.Actor, c MailCode, to MailTo, post func(ctx context.Context, address, code string, life time.Duration) error) (address string, err error) {
	switch {
	case s.db.InTransaction(ctx):
		return "", errInTransaction
	case !s.mailCodes.Enabled:
		return "", ErrNoFactor
	}
	factor := ""
	if c.Purpose == MailConfirm {
		if address, err = canonicalAddress(to.Typed); err != nil {
			return "", err
		}
	} else {
		f, known, err := s.mailOf(ctx, c.Person)
		if errors.Is(err, db.ErrNotFound) {
			return "", ErrNoFactor
		}
		if err != nil {
			return "", err
		}
		factor, address = f.ID, known
	}
	refuse := func(reason string, err error) (string, error) {
		s.audit.Refuse(ctx, actor, audit.Event{Action: "mfa.mailcode", Target: c.Person, Outcome: "refused", Detail: map[string]string{"purpose": c.Purpose, "reason": reason}})
		return "", err
	}
	if s.mailCodes.inside(address, to.Mailboxes) {
		return refuse("own", ErrOwnAddress)
	}
	ok, err := s.countMailCode(ctx, c.Person, address, factor != "")
	if err != nil {
		return "", err
	}
	if !ok {
		return refuse("cap", ErrTooManyCodes)
	}
	code, err := newDigits(mailDigits)
	if err != nil {
		return "", err
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		hash, err := s.hashMail(ctx, c, code)
		if err != nil {
			return err
		}
		_, err = s.db.Exec(ctx, `INSERT INTO mfa_mail_code (person, purpose, attempt, hash, address, factor, tries, ends) VALUES ($1, $2, $3, $4, $5, $6, 0, $7)
			ON CONFLICT (person, purpose, attempt) DO UPDATE SET hash = excluded.hash, address = excluded.address, factor = excluded.factor, tries = 0, ends = excluded.ends`,
			c.Person, c.Purpose, c.Attempt, hash, address, factor, db.At(s.now().Add(mailLife)))
		if err != nil {
			return err
		}
		if err := post(ctx, address, code, mailLife); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.mailcode", Target: c.Person, Outcome: "ok", Detail: map[string]string{"purpose": c.Purpose, "address": Masked(address)}})
	})
	if err != nil {
		return "", fmt.Errorf("send a code to %s: %w", c.Person, err)
	}
	return address, nil
}

// newDigits makes n random digits.
func newDigits(n int64) (string, error) {
	most := new(big.Int).Exp(big.NewInt(10), big.NewInt(n), nil)
	v, err := rand.Int(rand.Reader, most)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%0*d", int(n), v), nil
}

func (s *Service) hashMail(ctx context.Context, c MailCode, code string) (string, error) {
	return s.hash(ctx, fmt.Sprintf("mail\x00%s\x00%d\x00%s", c.Purpose, len(c.Attempt), c.Attempt), c.Person, code)
}

// countMailCode counts one more code, unless one of the caps is reached. An
// address that is not proven yet is counted apart: with it somebody else could
// keep codes from whom it belongs to.
func (s *Service) countMailCode(ctx context.Context, person, address string, proven bool) (ok bool, err error) {
	to := "new"
	if proven {
		to = "proven"
	}
	hash, err := s.hash(ctx, "mail-count", to, strings.ToLower(address))
	if err != nil {
		return false, err
	}
	of := map[string]string{"person": person, "network": networkOf(audit.OriginOf(ctx).IP), "address": hash}
	full := errors.New("full")
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		for _, c := range mailCaps {
			if of[c.of] == "" {
				continue
			}
			for _, p := range []struct {
				name string
				long time.Duration
				most int
			}{{"hour", time.Hour, c.hour}, {"day", 24 * time.Hour, c.day}} {
				var n int
				err := s.db.QueryRow(ctx, `INSERT INTO mfa_mail_count (what, since, count) VALUES ($1, $2, 1)
					ON CONFLICT (what) DO UPDATE SET
						count = CASE WHEN mfa_mail_count.since <= $3 THEN 1 ELSE mfa_mail_count.count + 1 END,
						since = CASE WHEN mfa_mail_count.since <= $3 THEN excluded.since ELSE mfa_mail_count.since END
					WHERE mfa_mail_count.since <= $3 OR mfa_mail_count.count < $4 RETURNING count`,
					p.name+" "+c.of+" "+of[c.of], db.At(s.now()), db.At(s.now().Add(-p.long)), p.most).Scan(&n)
				if errors.Is(err, db.ErrNotFound) {
					return full
				}
				if err != nil {
					return fmt.Errorf("count codes of %s: %w", person, err)
				}
			}
		}
		return nil
	})
	if errors.Is(err, full) {
		return false, nil
	}
	return err == nil, err
}

// networkOf is where a request is counted: the address, IPv6 by its /64.
func networkOf(ip netip.Addr) string {
	ip = ip.Unmap()
	if !ip.IsValid() || ip.Is4() {
		return strings.TrimPrefix(ip.String(), "invalid IP")
	}
	network, _ := ip.WithZone("").Prefix(64)
	return network.String()
}

// MailProof is a code that was right, and is not spent yet.
type MailProof struct {
	of                    MailCode
	hash, address, factor string
}

// CheckMailCode looks at a typed code. ErrWrongCode for any other than the one
// of this person, purpose and attempt, also when it is too old or was tried too
// often. Each look counts, for good: not within a transaction of the caller.
func (s *Service) CheckMailCode(ctx context.Context, c MailCode, typed string) (MailProof, error) {
	if s.db.InTransaction(ctx) {
		return MailProof{}, errInTransaction
	}
	if !s.mailCodes.Enabled {
		return MailProof{}, ErrNoFactor
	}
	p := MailProof{of: c}
	err := s.db.QueryRow(ctx, "UPDATE mfa_mail_code SET tries = tries + 1 WHERE person = $1 AND purpose = $2 AND attempt = $3 AND ends > $4 AND tries < $5 RETURNING hash, address, factor",
		c.Person, c.Purpose, c.Attempt, db.At(s.now()), mailTries).Scan(&p.hash, &p.address, &p.factor)
	if errors.Is(err, db.ErrNotFound) {
		return MailProof{}, ErrWrongCode
	}
	if err != nil {
		return MailProof{}, fmt.Errorf("code of %s: %w", c.Person, err)
	}
	hash, err := s.hashMail(ctx, c, heard(typed, mailDigits))
	if err != nil {
		return MailProof{}, err
	}
	if !secret.Equal(hash, p.hash) {
		return MailProof{}, ErrWrongCode
	}
	return p, nil
}

// UseMailCode spends a code that was right, in the caller's transaction, so
// that it is spent only if what it was spent on is kept. ErrUsedCode for all
// but one of those who carry it, ErrWrongCode when the address no longer counts.
func (s *Service) UseMailCode(ctx context.Context, p MailProof) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if p.factor == "" {
			return ErrWrongCode // the zero proof, or one of an address that never counted
		}
		if err := s.spendMail(ctx, p); err != nil {
			return err
		}
		n, err := s.db.Exec(ctx, "UPDATE mfa_mail SET used = $3 WHERE person = $1 AND id = $2", p.of.Person, p.factor, db.At(s.now()))
		if err != nil {
			return fmt.Errorf("use code of %s: %w", p.of.Person, err)
		}
		if n == 0 {
			return ErrWrongCode
		}
		return nil
	})
}

func (s *Service) spendMail(ctx context.Context, p MailProof) error {
	n, err := s.db.Exec(ctx, "DELETE FROM mfa_mail_code WHERE person = $1 AND purpose = $2 AND attempt = $3 AND hash = $4", p.of.Person, p.of.Purpose, p.of.Attempt, p.hash)
	if err != nil {
		return fmt.Errorf("use code of %s: %w", p.of.Person, err)
	}
	if n == 0 {
		return ErrUsedCode
	}
	return nil
}

// AddMail makes the address where a code of MailConfirm went the person's, in
// the place of the one before; codes on their way to that one end.
func (s *Service) AddMail(ctx context.Context, actor audit.Actor, p MailProof) error {
	person := p.of.Person
	if p.of.Purpose != MailConfirm || p.address == "" {
		return ErrWrongCode
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.spendMail(ctx, p); err != nil {
			return err
		}
		before, err := s.MailAddress(ctx, person)
		if err != nil {
			return err
		}
		f, _, err := scanMail(s.db.QueryRow(ctx, `INSERT INTO mfa_mail (person, id, address, created) VALUES ($1, $2, $3, $4)
			ON CONFLICT (person) DO UPDATE SET id = excluded.id, address = excluded.address, created = excluded.created, used = NULL
			RETURNING `+mailColumns, person, secret.Random()[:22], p.address, db.At(s.now())).Scan)
		if err == nil {
			_, err = s.db.Exec(ctx, "DELETE FROM mfa_mail_code WHERE person = $1", person)
		}
		if err != nil {
			return fmt.Errorf("add mail address of %s: %w", person, err)
		}
		if err := s.changed(ctx, Change{Actor: actor, Person: person, What: "added", Factor: f, Mail: before}); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.enrol", Target: person, Outcome: "ok", Detail: map[string]string{"kind": string(Mail), "factor": f.ID, "address": f.Detail}})
	})
}
