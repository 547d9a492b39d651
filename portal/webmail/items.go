package webmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"beffroi/internal/db"
)

// Kinds of what a person keeps for the webmail.
const (
	kindLabel     = "label"
	kindSignature = "signature"
	kindTemplate  = "template"
)

// mostItems is how many of one kind a person may keep.
const mostItems = 100

var errManyItems = errors.New("webmail: too many of this kind")

// keptItem is one thing that a person keeps, in its place among those of its kind.
type keptItem[T any] struct {
	id       string
	position int64
	value    T
}

func itemAAD(sub, kind, id string) string { return "mail_item:" + kind + ":" + sub + ":" + id }

// items lists what somebody keeps of a kind, in their order.
func items[T any](ctx context.Context, s *service, sub, kind string) ([]keptItem[T], error) {
	list, err := db.All(ctx, s.db, func(scan func(...any) error) (one keptItem[T], err error) {
		var sealed string
		if err := scan(&one.id, &one.position, &sealed); err != nil {
			return one, err
		}
		plain, err := s.sealer.Open(itemAAD(sub, kind, one.id), sealed)
		if err != nil {
			return one, err
		}
		return one, json.Unmarshal([]byte(plain), &one.value)
	}, "SELECT id, position, value FROM mail_item WHERE person = $1 AND kind = $2 ORDER BY position, id", sub, kind)
	if err != nil {
		return nil, fmt.Errorf("read %s of the webmail: %w", kind, err)
	}
	return list, nil
}

// putItem keeps one thing, in the place of what had its id. The error is
// errManyItems when there are too many.
func (s *service) putItem(ctx context.Context, sub, kind, id string, position int64, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		var others int
		if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM mail_item WHERE person = $1 AND kind = $2 AND id <> $3", sub, kind, id).Scan(&others); err != nil {
			return err
		}
		if others >= mostItems {
			return errManyItems
		}
		_, err := s.db.Exec(ctx, `INSERT INTO mail_item (person, kind, id, position, value, changed) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (person, kind, id) DO UPDATE SET position = excluded.position, value = excluded.value, changed = excluded.changed`,
			sub, kind, id, position, s.sealer.Seal(itemAAD(sub, kind, id), string(text)), db.At(s.now()))
		return err
	})
}

// dropItem forgets one thing; it is no error when there is none.
func (s *service) dropItem(ctx context.Context, sub, kind, id string) error {
	_, err := s.db.Exec(ctx, "DELETE FROM mail_item WHERE person = $1 AND kind = $2 AND id = $3", sub, kind, id)
	return err
}
