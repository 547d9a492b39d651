package oidc

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// Errors of a rotation that a command answers differently.
var (
	ErrUnknownKey = errors.New("no such signing key")
	ErrOnlyKey    = errors.New("no other key signs in its place")
)

// KeyInfo is a signing key as an operator sees it.
type KeyInfo struct {
	KID     string    `json:"kid"`
	Alg     string    `json:"alg"`
	State   string    `json:"state"` // KeyNext, KeyCurrent, KeyOld or KeyRetired
	Created time.Time `json:"created"`
	Signs   time.Time `json:"signs"`                    // from then on
	Until   time.Time `json:"published_until,omitzero"` // of an old one
	PEM     []byte    `json:"-"`                        // the public key
}

// List returns every key as it stands now, by algorithm and age.
func (k *Keys) List(ctx context.Context) ([]KeyInfo, error) {
	all, err := k.stored(ctx, nil)
	if err != nil {
		return nil, err
	}
	var list []KeyInfo
	for _, alg := range algorithms {
		for _, one := range all {
			if one.alg != alg {
				continue
			}
			i := k.info(all, one)
			der, err := x509.MarshalPKIXPublicKey(one.private.Public())
			if err != nil {
				return nil, fmt.Errorf("encode signing key %s: %w", one.kid, err)
			}
			i.PEM = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
			list = append(list, i)
		}
	}
	return list, nil
}

func (k *Keys) info(all []*key, one *key) KeyInfo {
	now := k.now()
	i := KeyInfo{KID: one.kid, Alg: one.alg, Created: one.created, Signs: one.signs}
	i.State = one.state(later(all, one), now, k.cfg.Keep)
	if i.State == KeyOld {
		i.Until = one.until(later(all, one), now, k.cfg.Keep)
	}
	return i
}

// Rotate publishes the next key of alg and returns it: it signs after
// publish_ahead. One that is published already is returned as it is. With
// atOnce it signs as soon as every replica has published it, which is before
// applications that remember the published keys have asked again.
func (k *Keys) Rotate(ctx context.Context, actor audit.Actor, alg string, atOnce bool) (KeyInfo, error) {
	if !slices.Contains(algorithms, alg) {
		return KeyInfo{}, fmt.Errorf("%q is not an algorithm that tokens are signed with", alg)
	}
	signs := k.now().Add(k.cfg.PublishAhead)
	if atOnce {
		signs = k.now().Add(keysKnown)
	}
	all, err := k.stored(ctx, nil)
	if err != nil {
		return KeyInfo{}, err
	}
	next := find(all, alg, KeyNext, k.now(), k.cfg.Keep)
	switch {
	case next == nil:
		if _, err = k.create(ctx, actor, alg, last(all, alg)+1, signs); err != nil {
			return KeyInfo{}, err
		}
	case atOnce && next.signs.After(signs):
		if err := k.hasten(ctx, actor, next, signs); err != nil {
			return KeyInfo{}, err
		}
	}
	if all, err = k.stored(ctx, nil); err != nil {
		return KeyInfo{}, err
	}
	// Another command may have been faster: its key is the answer then.
	if next = find(all, alg, KeyNext, k.now(), k.cfg.Keep); next == nil {
		next = find(all, alg, KeyCurrent, k.now(), k.cfg.Keep)
	}
	if next == nil {
		return KeyInfo{}, errors.New("no signing key for " + alg)
	}
	return k.info(all, next), nil
}

// Retire takes a key back at once, one that signed or is to sign: what it signed
// is refused from then on by whoever asks for the keys again. ErrOnlyKey for the
// one that signs: rotate first.
func (k *Keys) Retire(ctx context.Context, actor audit.Actor, kid string) error {
	all, err := k.stored(ctx, nil)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(one *key) bool { return one.kid == kid })
	if i < 0 {
		return fmt.Errorf("%s: %w", kid, ErrUnknownKey)
	}
	one := all[i]
	if one.state(later(all, one), k.now(), k.cfg.Keep) == KeyRetired {
		return fmt.Errorf("%s is retired already", kid)
	}
	return k.db.InTx(ctx, func(ctx context.Context) error {
		// One statement: it is not the one that signs, or another signs in its place.
		n, err := k.db.Exec(ctx, `UPDATE oidc_key SET retired = $2 WHERE kid = $1 AND retired IS NULL AND (signs > $2
			OR EXISTS (SELECT 1 FROM oidc_key l WHERE l.alg = oidc_key.alg AND l.serial > oidc_key.serial AND l.signs <= $2 AND l.retired IS NULL))`,
			kid, db.At(k.now()))
		if err != nil {
			return fmt.Errorf("retire %s: %w", kid, err)
		}
		if n == 0 {
			return fmt.Errorf("%s signs %s: %w", kid, one.alg, ErrOnlyKey)
		}
		return k.audit.Record(ctx, actor, audit.Event{Action: "key.retire", Detail: map[string]string{"kid": kid, "alg": one.alg}})
	})
}

// RotateKeys does what the schedule asks and returns how many keys it made.
// Replicas may do it at once: one makes the key, the others find it.
func (p *Provider) RotateKeys(ctx context.Context) (int64, error) { return p.keys.rotateDue(ctx) }

func (k *Keys) rotateDue(ctx context.Context) (made int64, err error) {
	all, err := k.stored(ctx, nil)
	if err != nil {
		return 0, err
	}
	for _, alg := range algorithms {
		signs, is := due(all, alg, k.now(), k.cfg)
		if !is {
			continue
		}
		created, err := k.create(ctx, audit.System("keys"), alg, last(all, alg)+1, signs)
		if err != nil {
			return made, err
		}
		if created {
			made++
		}
	}
	return made, nil
}

// due tells whether alg needs another key now, and from when it is to sign. It
// is pure.
func due(all []*key, alg string, now time.Time, cfg KeyConfig) (signs time.Time, is bool) {
	current := find(all, alg, KeyCurrent, now, cfg.Keep)
	switch {
	case current == nil:
		return now, true // the first of all
	case find(all, alg, KeyNext, now, cfg.Keep) != nil:
		return signs, false
	}
	signs = current.signs.Add(cfg.RotateEvery)
	if now.Before(signs.Add(-cfg.PublishAhead)) {
		return signs, false
	}
	if earliest := now.Add(cfg.PublishAhead); signs.Before(earliest) {
		signs = earliest // nobody was there in time
	}
	return signs, true
}

// find returns the key of alg in a state, nil when there is none.
func find(all []*key, alg, state string, now time.Time, keep time.Duration) *key {
	for _, k := range all {
		if k.alg == alg && k.state(later(all, k), now, keep) == state {
			return k
		}
	}
	return nil
}

// last is the highest serial of alg.
func last(all []*key, alg string) (serial int64) {
	for _, k := range all {
		if k.alg == alg {
			serial = max(serial, k.serial)
		}
	}
	return serial
}

// create makes a key and stores it under its serial; false when another replica
// has made that one.
func (k *Keys) create(ctx context.Context, actor audit.Actor, alg string, serial int64, signs time.Time) (bool, error) {
	var one *key
	for one == nil || strings.HasPrefix(one.kid, "-") { // a command would take it for a flag
		signer, err := generate(alg)
		if err != nil {
			return false, fmt.Errorf("make a signing key: %w", err)
		}
		if one, err = newKey(alg, signer); err != nil {
			return false, err
		}
	}
	one.serial, one.created, one.signs = serial, k.now(), signs
	stored := false
	err := k.db.InTx(ctx, func(ctx context.Context) (err error) {
		if stored, err = k.store(ctx, one); err != nil || !stored {
			return err
		}
		return k.audit.Record(ctx, actor, audit.Event{Action: "key.create", Detail: map[string]string{"kid": one.kid, "alg": alg, "signs": signs.UTC().Format(time.RFC3339)}})
	})
	if err == nil && stored {
		k.log.InfoContext(ctx, "signing key made", "kid", one.kid, "alg", alg, "signs", signs)
	}
	return stored, err
}

// hasten lets the next key sign earlier.
func (k *Keys) hasten(ctx context.Context, actor audit.Actor, next *key, signs time.Time) error {
	return k.db.InTx(ctx, func(ctx context.Context) error {
		n, err := k.db.Exec(ctx, "UPDATE oidc_key SET signs = $2 WHERE kid = $1 AND retired IS NULL AND signs > $2", next.kid, db.At(signs))
		if err != nil || n == 0 {
			return err
		}
		return k.audit.Record(ctx, actor, audit.Event{Action: "key.hasten", Detail: map[string]string{"kid": next.kid, "alg": next.alg, "signs": signs.UTC().Format(time.RFC3339)}})
	})
}

// store keeps a key, sealed; false when its serial is taken.
func (k *Keys) store(ctx context.Context, one *key) (bool, error) {
	der, err := x509.MarshalPKCS8PrivateKey(one.private)
	if err != nil {
		return false, fmt.Errorf("encode signing key: %w", err)
	}
	n, err := k.db.Exec(ctx, "INSERT INTO oidc_key (kid, alg, serial, sealed, created, signs) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
		one.kid, one.alg, one.serial, k.sealer.Seal("oidc key "+one.kid, string(der)), db.At(one.created), db.At(one.signs))
	if err != nil {
		return false, fmt.Errorf("store signing key: %w", err)
	}
	return n > 0, nil
}

// load reads the keys; those of known are not opened again.
func (k *Keys) load(ctx context.Context, known *keySet) (*keySet, error) {
	all, err := k.stored(ctx, known)
	if err != nil {
		return nil, err
	}
	return newKeySet(all, k.now(), k.cfg.Keep)
}

// stored returns every key, in order of algorithm and serial.
func (k *Keys) stored(ctx context.Context, known *keySet) ([]*key, error) {
	type row struct {
		key
		sealed                  string
		created, signs, retired db.Time
	}
	rows, err := db.All(ctx, k.db, func(scan func(...any) error) (r row, err error) {
		return r, scan(&r.kid, &r.alg, &r.serial, &r.sealed, &r.created, &r.signs, &r.retired)
	}, "SELECT kid, alg, serial, sealed, created, signs, retired FROM oidc_key ORDER BY alg, serial")
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	var all []*key
	for _, r := range rows {
		one := r.key
		one.created, one.signs, one.retired = r.created.Time, r.signs.Time, r.retired.Time
		if known != nil && known.byID[one.kid] != nil {
			one.private = known.byID[one.kid].private
		} else if one.private, err = k.open(one.kid, r.sealed); err != nil {
			return nil, err
		}
		all = append(all, &one)
	}
	return all, nil
}

func (k *Keys) open(kid, sealed string) (crypto.Signer, error) {
	der, err := k.sealer.Open("oidc key "+kid, sealed)
	if err != nil {
		return nil, fmt.Errorf("open signing key %s: %w", kid, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey([]byte(der))
	if err != nil {
		return nil, fmt.Errorf("parse signing key %s: %w", kid, err)
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key %s is a %T", kid, parsed)
	}
	return signer, nil
}
