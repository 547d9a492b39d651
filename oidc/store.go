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

// How a row of oidc_token came to be.
const (
	originCode     = "code"
	originRefresh  = "refresh"
	originExchange = "exchange"
	originClient   = "client"
	originBearer   = "bearer"
)

// errSpent is returned when a code or a refresh token was used, ended or
// expired between being read and being spent.
var errSpent = errors.New("oidc: used or ended meanwhile")

// How an authorization was given. What spends one checks that it is of its
// kind: a device's code needs no redirect URI and no PKCE, so it must not pass
// for an authorization code.
const (
	kindCode   = "code"
	kindDevice = "device"
	kindBearer = "bearer" // an assertion: nobody was at a browser
)

// grant is one authorization, and the family of tokens that came of it.
type grant struct {
	ID          string // hash of the code
	Kind        string
	Client      string
	Person      string
	SID         string
	Offline     bool // offline_access: outlives the session
	Scope       string
	ACR         string
	AMR         string       // space-separated
	Level       signin.Level // what ACR and AMR say, for comparing; see grant.level
	AuthTime    db.Time
	Nonce       string
	RedirectURI string
	Challenge   string // PKCE S256; "" when waived
	Resources   string // audiences that its tokens are for, space-separated; "" for the provider's own
	Claims      string // what was asked for by name: claimsRequest.stored
	Created     db.Time
	CodeEnds    db.Time
	Ends        db.Time // no token of it lives longer
	Ended       db.Time // zero while it lives
}

// token is one issue: an access token and perhaps its refresh token.
type token struct {
	AccessHash  string
	Grant       string // "" for an application acting for itself
	Origin      string
	Client      string // issued to
	Scope       string
	Audience    string
	Actors      string // space-separated: who exchanged, the latest first
	Parent      string // of an exchanged one: hash of the token it was exchanged for
	Created     db.Time
	AccessEnds  db.Time
	RefreshHash string
	RefreshEnds db.Time
}

// ends is when nothing of it works any more.
func (t token) ends() db.Time {
	if t.RefreshEnds.After(t.AccessEnds.Time) {
		return t.RefreshEnds
	}
	return t.AccessEnds
}

// store is the provider's SQL. Each token grant reads once and writes once.
type store struct {
	db    *db.DB
	now   func() time.Time
	grace time.Duration
	jti   func(ctx context.Context, token string) (string, bool) // of a JWT signed here
}

// createGrant stores a new authorization with its code.
func (s *store) createGrant(ctx context.Context, g grant) error {
	_, err := s.db.Exec(ctx, `INSERT INTO oidc_grant (id, client, person, sid, offline, scope, acr, amr, auth_time, nonce, redirect_uri, challenge, created, code_ends, ends, level, claims, kind, resources)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
		g.ID, g.Client, g.Person, g.SID, g.Offline, g.Scope, g.ACR, g.AMR, g.AuthTime, g.Nonce, g.RedirectURI, g.Challenge, g.Created, g.CodeEnds, g.Ends, int64(g.Level), g.Claims, g.Kind, g.Resources)
	if err != nil {
		return fmt.Errorf("store authorization: %w", err)
	}
	return nil
}

const grantColumns = `g.id, g.client, g.person, g.sid, g.offline, g.scope, g.acr, g.amr, g.auth_time, g.nonce, g.redirect_uri, g.challenge, g.created, g.code_ends, g.ends, g.ended, g.level, g.claims, g.kind, g.resources`

func (g *grant) fields() []any {
	return []any{&g.ID, &g.Client, &g.Person, &g.SID, &g.Offline, &g.Scope, &g.ACR, &g.AMR, &g.AuthTime, &g.Nonce, &g.RedirectURI, &g.Challenge, &g.Created, &g.CodeEnds, &g.Ends, &g.Ended, &g.Level, &g.Claims, &g.Kind, &g.Resources}
}

// grantByCode returns the authorization of a code, and whether the code is used.
func (s *store) grantByCode(ctx context.Context, codeHash string) (g grant, used bool, err error) {
	err = s.db.QueryRow(ctx, "SELECT "+grantColumns+", EXISTS (SELECT 1 FROM oidc_token t WHERE t.grant_id = g.id AND t.origin = 'code') FROM oidc_grant g WHERE g.id = $1", codeHash).
		Scan(append(g.fields(), &used)...)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		err = fmt.Errorf("read code: %w", err)
	}
	return g, used, err
}

// redeem spends a code: one statement, which stores the tokens only if the
// code still lives and nothing came of it before. errSpent otherwise.
func (s *store) redeem(ctx context.Context, codeHash string, t token) error {
	var one string
	err := s.db.QueryRow(ctx, `INSERT INTO oidc_token (access_hash, grant_id, origin, client, scope, audience, actors, created, access_ends, refresh_hash, refresh_ends, parent, ends)
		SELECT CAST($2 AS TEXT), g.id, 'code', g.client, CAST($3 AS TEXT), CAST($9 AS TEXT), '', CAST($4 AS BIGINT), CAST($5 AS BIGINT), CAST($6 AS TEXT), CAST($7 AS BIGINT), NULL, CAST($8 AS BIGINT)
		FROM oidc_grant g WHERE g.id = $1 AND g.ended IS NULL AND g.code_ends > CAST($4 AS BIGINT)
		ON CONFLICT DO NOTHING RETURNING grant_id`,
		codeHash, t.AccessHash, t.Scope, t.Created, t.AccessEnds, null(t.RefreshHash), t.RefreshEnds, t.ends(), t.Audience).Scan(&one)
	if errors.Is(err, db.ErrNotFound) {
		return errSpent
	}
	if err != nil {
		return fmt.Errorf("spend code: %w", err)
	}
	return nil
}

// refreshRow is a refresh token as presented.
type refreshRow struct {
	token
	grant     grant
	FirstUsed db.Time // zero when never used
}

// refreshToken returns a refresh token with its authorization.
func (s *store) refreshToken(ctx context.Context, hash string) (r refreshRow, err error) {
	err = s.db.QueryRow(ctx, `SELECT t.client, t.scope, t.created, t.refresh_ends, (SELECT MIN(c.created) FROM oidc_token c WHERE c.parent = $1), `+grantColumns+`
		FROM oidc_token t JOIN oidc_grant g ON g.id = t.grant_id WHERE t.refresh_hash = $1`, hash).
		Scan(append([]any{&r.Client, &r.Scope, &r.Created, &r.RefreshEnds, &r.FirstUsed}, r.grant.fields()...)...)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		err = fmt.Errorf("read refresh token: %w", err)
	}
	r.RefreshHash = hash
	return r, err
}

// rotate spends a refresh token: one statement, which stores the new tokens
// only if the family lives and the old token is unused, or was first used
// within the grace period. errSpent otherwise.
//
// No row is locked and none is updated: a refresh token is used when it has a
// child. So two hundred tabs refreshing at once neither wait nor collide.
func (s *store) rotate(ctx context.Context, oldHash string, t token) error {
	var one string
	err := s.db.QueryRow(ctx, `INSERT INTO oidc_token (access_hash, grant_id, origin, client, scope, audience, actors, created, access_ends, refresh_hash, refresh_ends, parent, ends)
		SELECT CAST($2 AS TEXT), g.id, 'refresh', o.client, CAST($3 AS TEXT), CAST($10 AS TEXT), '', CAST($4 AS BIGINT), CAST($5 AS BIGINT), CAST($6 AS TEXT), CAST($7 AS BIGINT), o.refresh_hash, CAST($8 AS BIGINT)
		FROM oidc_token o JOIN oidc_grant g ON g.id = o.grant_id
		WHERE o.refresh_hash = $1 AND g.ended IS NULL AND o.refresh_ends > CAST($4 AS BIGINT)
		AND NOT EXISTS (SELECT 1 FROM oidc_token c WHERE c.parent = $1 AND c.created < CAST($9 AS BIGINT))
		RETURNING grant_id`,
		oldHash, t.AccessHash, t.Scope, t.Created, t.AccessEnds, null(t.RefreshHash), t.RefreshEnds, t.ends(), db.At(t.Created.Add(-s.grace)), t.Audience).Scan(&one)
	if errors.Is(err, db.ErrNotFound) {
		return errSpent
	}
	if err != nil {
		return fmt.Errorf("rotate refresh token: %w", err)
	}
	return nil
}

// insert stores a token that spends nothing. With a grant, the grant must live,
// and with a parent the parent: errSpent otherwise.
func (s *store) insert(ctx context.Context, t token) error {
	if t.Grant == "" {
		_, err := s.db.Exec(ctx, `INSERT INTO oidc_token (access_hash, origin, client, scope, audience, actors, created, access_ends, ends)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)`, t.AccessHash, t.Origin, t.Client, t.Scope, t.Audience, t.Actors, t.Created, t.AccessEnds)
		if err != nil {
			return fmt.Errorf("store token: %w", err)
		}
		return nil
	}
	n, err := s.db.Exec(ctx, `INSERT INTO oidc_token (access_hash, grant_id, origin, client, scope, audience, actors, created, access_ends, ends, parent)
		SELECT CAST($1 AS TEXT), g.id, CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS TEXT), CAST($7 AS TEXT), CAST($8 AS BIGINT), CAST($9 AS BIGINT), CAST($9 AS BIGINT), CAST($10 AS TEXT)
		FROM oidc_grant g WHERE g.id = $2 AND g.ended IS NULL
		AND (CAST($10 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM oidc_token s WHERE s.access_hash = $10 AND s.access_ends > CAST($8 AS BIGINT)))`,
		t.AccessHash, t.Grant, t.Origin, t.Client, t.Scope, t.Audience, t.Actors, t.Created, t.AccessEnds, null(t.Parent))
	if err != nil {
		return fmt.Errorf("store token: %w", err)
	}
	if n == 0 {
		return errSpent
	}
	return nil
}

// living is an access or refresh token that works now.
type living struct {
	token
	grant   grant   // zero for an application acting for itself
	Refresh bool    // it is a refresh token
	Ends    db.Time // of this one
}

// Two texts of one question, so that each is one index look-up.
const (
	findAccess  = `SELECT t.access_hash, t.origin, t.client, t.scope, t.audience, t.actors, t.created, t.access_ends, ` + findRest + ` WHERE t.access_hash = $1`
	findRefresh = `SELECT t.access_hash, t.origin, t.client, t.scope, t.audience, t.actors, t.created,
		CASE WHEN EXISTS (SELECT 1 FROM oidc_token c WHERE c.parent = $1) THEN 0 ELSE t.refresh_ends END, ` + findRest + ` WHERE t.refresh_hash = $1`
	findRest = `g.id, g.client, g.person, g.sid, g.offline, g.acr, g.amr, g.auth_time, g.ended, COALESCE(g.level, 0), COALESCE(g.claims, '') FROM oidc_token t LEFT JOIN oidc_grant g ON g.id = t.grant_id`
)

// find returns the token if it works now, else db.ErrNotFound. A rotated
// refresh token does not. The prefix says which kind it is: one statement. A
// JWT is found by its jti, its signature checked.
func (s *store) find(ctx context.Context, plain string) (*living, error) {
	query, hash := findAccess, secret.Hash(plain)
	switch {
	case strings.HasPrefix(plain, prefixRefresh):
		query = findRefresh
	case !strings.HasPrefix(plain, prefixAccess):
		jti, ok := s.jti(ctx, plain)
		if !ok {
			return nil, db.ErrNotFound
		}
		hash = hashOfJTI(jti)
	}
	l := &living{Refresh: query == findRefresh}
	g := &l.grant
	var id, client, person, sid, acr, amr *string
	var offline *bool
	err := s.db.QueryRow(ctx, query, hash).
		Scan(&l.AccessHash, &l.Origin, &l.Client, &l.Scope, &l.Audience, &l.Actors, &l.Created, &l.Ends,
			&id, &client, &person, &sid, &offline, &acr, &amr, &g.AuthTime, &g.Ended, &g.Level, &g.Claims)
	if err != nil {
		if !errors.Is(err, db.ErrNotFound) {
			err = fmt.Errorf("find token: %w", err)
		}
		return nil, err
	}
	if id != nil {
		g.ID, g.Client, g.Person, g.SID, g.Offline, g.ACR, g.AMR = *id, *client, *person, *sid, *offline, *acr, *amr
	}
	orphan := l.Origin != originClient && g.ID == ""
	if orphan || !g.Ended.IsZero() || !s.now().Before(l.Ends.Time) {
		return nil, db.ErrNotFound
	}
	return l, nil
}

// endGrant ends an authorization and every token that came of it, and tells
// whether it lived.
func (s *store) endGrant(ctx context.Context, id string) (lived bool, err error) {
	n, err := s.db.Exec(ctx, "UPDATE oidc_grant SET ended = $1 WHERE id = $2 AND ended IS NULL", db.At(s.now()), id)
	if err != nil {
		return false, fmt.Errorf("end authorization: %w", err)
	}
	return n > 0, nil
}

// endAccess ends one access token and all that was exchanged for it, at however
// many removes.
func (s *store) endAccess(ctx context.Context, hash string) error {
	if _, err := s.db.Exec(ctx, `UPDATE oidc_token SET access_ends = $1 WHERE access_ends > $1 AND access_hash IN (
		WITH RECURSIVE made (hash) AS (SELECT CAST($2 AS TEXT) UNION SELECT t.access_hash FROM oidc_token t JOIN made ON t.parent = made.hash)
		SELECT hash FROM made)`, db.At(s.now()), hash); err != nil {
		return fmt.Errorf("end token: %w", err)
	}
	return nil
}

// null makes an empty text NULL.
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// keepUsed is how long a spent refresh token is remembered, so that its reuse
// ends the family. Later it is only unknown.
const keepUsed = 7 * 24 * time.Hour

// sweep removes what no longer works and returns how many rows that was.
//
// A spent refresh token is spent because it has a child. Before a child may go,
// its parent must have been forgotten by name, else the parent would look
// unspent: hence forgetting first and removing a day later, which is more than
// the clocks of two replicas differ.
func (s *store) sweep(ctx context.Context) (int64, error) {
	now := s.now()
	_, err := s.db.Exec(ctx, `UPDATE oidc_token SET refresh_hash = NULL, ends = $1 WHERE refresh_hash IS NOT NULL AND created < $2 AND ends > $1
		AND EXISTS (SELECT 1 FROM oidc_token c WHERE c.parent = oidc_token.refresh_hash AND c.created < $2)`,
		db.At(now.Add(24*time.Hour)), db.At(now.Add(-keepUsed)))
	if err != nil {
		return 0, fmt.Errorf("forget spent refresh tokens: %w", err)
	}
	var gone int64
	for _, one := range []struct {
		what, statement string
		before          time.Time
	}{
		{"tokens", "DELETE FROM oidc_token WHERE ends < $1", now},
		{"authorizations", "DELETE FROM oidc_grant WHERE ends < $1", now},
		{"questions", "DELETE FROM oidc_question WHERE ends < $1", now},
		{"assertions", "DELETE FROM oidc_assertion WHERE ends < $1", now},
		{"devices", "DELETE FROM oidc_device WHERE expires < $1", now.Add(-keepDevice)},
		{"tallies", "DELETE FROM oidc_tally WHERE since < $1", now.Add(-tallyWindow)},
	} {
		n, err := s.db.Exec(ctx, one.statement, db.At(one.before))
		if err != nil {
			return gone, fmt.Errorf("sweep %s: %w", one.what, err)
		}
		gone += n
	}
	return gone, nil
}
