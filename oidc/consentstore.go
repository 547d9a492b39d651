package oidc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/signin"
)

// consent is what a person allowed an application.
type consent struct {
	scopes, claims []string
	given          time.Time
}

// consent returns what the person allowed the application; zero for nothing.
func (s *store) consent(ctx context.Context, person, client string) (c consent, err error) {
	var scopes, claims string
	var given db.Time
	err = s.db.QueryRow(ctx, "SELECT scopes, claims, given FROM oidc_consent WHERE person = $1 AND client = $2", person, client).Scan(&scopes, &claims, &given)
	if errors.Is(err, db.ErrNotFound) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read consent: %w", err)
	}
	return consent{words(scopes), words(claims), given.Time}, nil
}

// allow keeps what the person allows now beside what was allowed before.
func (s *store) allow(ctx context.Context, person, client string, scopes, claims []string) error {
	before, err := s.consent(ctx, person, client)
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `INSERT INTO oidc_consent (person, client, scopes, claims, given) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (person, client) DO UPDATE SET scopes = excluded.scopes, claims = excluded.claims, given = excluded.given`,
		person, client, strings.Join(union(before.scopes, scopes), " "), strings.Join(union(before.claims, claims), " "), db.At(s.now()))
	if err != nil {
		return fmt.Errorf("keep consent: %w", err)
	}
	return nil
}

// question is an authorization that waits for its person's answer.
type question struct {
	id       string // hash
	person   string
	sid      string
	raw      []byte // the request, as signin keeps it
	level    signin.Level
	amr      []string
	authTime time.Time
}

// questionLife is how long an answer is waited for; the sign-in before it has
// as long for itself.
const questionLife = 15 * time.Minute

// ask stores a question and returns the name that opens it.
func (s *store) ask(ctx context.Context, raw []byte, who signin.Result) (string, error) {
	plain := secret.Random()
	_, err := s.db.Exec(ctx, "INSERT INTO oidc_question (id, person, sid, raw, level, amr, auth_time, ends) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		secret.Hash(plain), who.Person.ID, who.SID, raw, int64(who.Level), strings.Join(who.AMR, " "), db.At(who.AuthTime), db.At(s.now().Add(questionLife)))
	if err != nil {
		return "", fmt.Errorf("store question: %w", err)
	}
	return plain, nil
}

// question returns a question that waits still, or db.ErrNotFound.
func (s *store) question(ctx context.Context, plain string) (q question, err error) {
	var amr string
	var authTime db.Time
	q.id = secret.Hash(plain)
	err = s.db.QueryRow(ctx, "SELECT person, sid, raw, level, amr, auth_time FROM oidc_question WHERE id = $1 AND ends > $2", q.id, db.At(s.now())).
		Scan(&q.person, &q.sid, &q.raw, &q.level, &amr, &authTime)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		err = fmt.Errorf("read question: %w", err)
	}
	q.amr, q.authTime = words(amr), authTime.Time
	return q, err
}

// answered takes the question away, for one answer only: errSpent for the others.
func (s *store) answered(ctx context.Context, q question) error {
	n, err := s.db.Exec(ctx, "DELETE FROM oidc_question WHERE id = $1 AND person = $2 AND sid = $3 AND ends > $4", q.id, q.person, q.sid, db.At(s.now()))
	if err != nil {
		return fmt.Errorf("answer question: %w", err)
	}
	if n == 0 {
		return errSpent
	}
	return nil
}

// unask takes back the questions of one session, or all of a person's.
func (s *store) unask(ctx context.Context, person, sid string) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM oidc_question WHERE person = $1 AND (sid = $2 OR CAST($2 AS TEXT) = '')", person, sid); err != nil {
		return fmt.Errorf("take questions back: %w", err)
	}
	return nil
}
