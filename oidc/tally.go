package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/ory/fosite"

	"beffroi/internal/db"
	"beffroi/internal/web"
)

// tallyWindow is how long what was done counts, from the first time on.
const tallyWindow = 10 * time.Minute

// How often one address may do in tallyWindow what needs no secret and costs a
// row, or more. A whole academy may stand behind one address.
const (
	deviceRequests   = 1_000
	pushesByName     = 10_000 // of public applications, who push by their name alone
	registrationMost = 500    // each reads the whole registry again, and may fetch a document
)

// errTooMany answers an address that asks for more than anybody needs.
var errTooMany = &fosite.RFC6749Error{ErrorField: "temporarily_unavailable", DescriptionField: "too many requests from this address, try again later", CodeField: http.StatusTooManyRequests}

// fewEnough counts one request of the visitor's address; errTooMany when there
// were most already.
func (p *Provider) fewEnough(ctx context.Context, what string, most int) error {
	ok, err := p.store.take(ctx, fromAddress(what, web.ClientIP(ctx)), most)
	if err == nil && !ok {
		err = errTooMany
	}
	return err
}

// addressBuckets bounds how many rows visitors from everywhere can make.
const addressBuckets = 1 << 18

// fromAddress is the key of an address for what; an IPv6 visitor has a whole /64.
func fromAddress(what string, ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	text := ip.String()
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			text = prefix.String()
		}
	}
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%s:%d", what, binary.BigEndian.Uint64(sum[:8])%addressBuckets)
}

// take counts one try under key unless limit of them stand there already: one
// statement, so that of any number at once no more than the limit get true.
func (s *store) take(ctx context.Context, key string, limit int) (bool, error) {
	now := s.now()
	var count int
	err := s.db.QueryRow(ctx, `INSERT INTO oidc_tally (key, count, since) VALUES ($1, 1, $2)
		ON CONFLICT (key) DO UPDATE SET
			count = CASE WHEN oidc_tally.since <= $3 THEN 1 ELSE oidc_tally.count + 1 END,
			since = CASE WHEN oidc_tally.since <= $3 THEN excluded.since ELSE oidc_tally.since END
		WHERE oidc_tally.since <= $3 OR oidc_tally.count < $4
		RETURNING count`, key, db.At(now), db.At(now.Add(-tallyWindow)), limit).Scan(&count)
	if errors.Is(err, db.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("count %s: %w", key, err)
	}
	return true, nil
}

// giveBack undoes a take: the try was no wrong one.
func (s *store) giveBack(ctx context.Context, key string) error {
	if _, err := s.db.Exec(ctx, "UPDATE oidc_tally SET count = count - 1 WHERE key = $1 AND count > 0", key); err != nil {
		return fmt.Errorf("uncount %s: %w", key, err)
	}
	return nil
}
