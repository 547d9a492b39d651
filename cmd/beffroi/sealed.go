package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// sealedColumn is a column whose values are sealed: how a row is named, and for
// what its value is sealed. Whoever seals into another column adds it here; a
// test counts.
type sealedColumn struct {
	table, column string
	key           []string // the columns that name a row
	purpose       func(key []string) string
	portal        bool // stands in the portal's database
}

func byFirst(prefix string) func([]string) string {
	return func(key []string) string { return prefix + key[0] }
}

func oneFor(purpose string) func([]string) string { return func([]string) string { return purpose } }

// sealedColumns are all of them. Two kinds of sealed values are none: what the
// portal keeps in its sessions and its sign-in cookie ends by itself within
// hours (a mandate within months); until then the key that sealed it stays in the ring.
var sealedColumns = []sealedColumn{
	{"oidc_key", "sealed", []string{"kid"}, byFirst("oidc key "), false},
	{"oidc_secret", "sealed", []string{"name"}, byFirst("oidc secret "), false},
	{"oidc_device", "shown", []string{"id"}, byFirst("device:"), false},
	{"mfa_factor", "secret", []string{"person", "id"}, byFirst("totp:"), false},
	{"mfa_pending", "secret", []string{"person", "attempt"}, byFirst("totp-pending:"), false},
	{"mfa_pepper", "secret", []string{"id"}, oneFor("mfa-pepper"), false},
	{"mfa_key", "seed", []string{"serial"}, byFirst("key:"), false},
	{"mfa_key", "pin", []string{"serial"}, byFirst("key-pin:"), false},
	{"mfa_key_import", "upload", []string{"id"}, byFirst("key-import:"), false},
	{"helpdesk_phrase", "phrase", []string{"person"}, byFirst("helpdesk-phrase:"), false},
	{"notice_outbox", "message", []string{"id"}, byFirst("mail:"), false},
	{"audit_head", "seal", []string{"id"}, oneFor("audit-head"), false},
	{"audit_link", "seal", []string{"seq"}, byFirst("audit-link:"), false},
	{"mail_outbox", "envelope", []string{"person", "id"}, func(k []string) string { return "mail_outbox:envelope:" + k[0] + ":" + k[1] }, true},
	{"mail_outbox", "message", []string{"person", "id"}, func(k []string) string { return "mail_outbox:message:" + k[0] + ":" + k[1] }, true},
	{"mail_delegate", "about", []string{"owner", "delegate"}, func(k []string) string { return "mail_delegate:" + k[0] + ":" + k[1] }, true},
	{"mail_reminder", "about", []string{"person", "id"}, func(k []string) string { return "mail_reminder:" + k[0] + ":" + k[1] }, true},
	{"mail_drop", "about", []string{"id"}, byFirst("mail_drop:"), true},
	{"mail_file", "about", []string{"id"}, byFirst("mail_file:"), true},
	{"mail_item", "value", []string{"person", "kind", "id"}, func(k []string) string { return "mail_item:" + k[1] + ":" + k[0] + ":" + k[2] }, true},
	{"audit_head", "seal", []string{"id"}, oneFor("audit-head"), true},
	{"audit_link", "seal", []string{"seq"}, byFirst("audit-link:"), true},
}

const resealAtOnce = 200

// reseal seals every value of a column with the newest key, while everything
// else goes on: a value that changes meanwhile is left to the next look.
func reseal(ctx context.Context, d *db.DB, s *secret.Sealer, c sealedColumn) (n int64, err error) {
	var names []string
	for _, k := range c.key {
		names = append(names, "CAST("+k+" AS TEXT)")
	}
	newest := "v1." + s.ID() + ".%"
	for {
		type row struct {
			key    []string
			sealed string
		}
		rows, err := db.All(ctx, d, func(scan func(...any) error) (r row, err error) {
			r.key = make([]string, len(c.key))
			into := make([]any, 0, len(c.key)+1)
			for i := range r.key {
				into = append(into, &r.key[i])
			}
			err = scan(append(into, &r.sealed)...)
			return r, err
		}, fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s <> '' AND %s NOT LIKE $1 LIMIT %d", strings.Join(names, ", "), c.column, c.table, c.column, c.column, resealAtOnce), newest)
		if err != nil {
			return n, fmt.Errorf("re-seal %s.%s: %w", c.table, c.column, err)
		}
		var done int64
		for _, r := range rows {
			again, err := s.Reseal(c.purpose(r.key), r.sealed)
			if err != nil {
				return n, fmt.Errorf("re-seal %s.%s of %s: %w", c.table, c.column, strings.Join(r.key, " "), err)
			}
			where, args := "", []any{again, r.sealed}
			for i, name := range names {
				where += fmt.Sprintf(" AND %s = $%d", name, i+3)
				args = append(args, r.key[i])
			}
			changed, err := d.Exec(ctx, fmt.Sprintf("UPDATE %s SET %s = $1 WHERE %s = $2%s", c.table, c.column, c.column, where), args...)
			if err != nil {
				return n, fmt.Errorf("re-seal %s.%s: %w", c.table, c.column, err)
			}
			done += changed
		}
		n += done
		if len(rows) < resealAtOnce || done == 0 {
			return n, nil
		}
	}
}

// followed is how long a server takes at most to see a new key in the file.
const followed = 11 * time.Second

// runRotateSeal puts a new key on top of the ring and seals everything with it.
func runRotateSeal(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("key rotate-seal", flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	resume := flags.Bool("resume", false, "make no new key: go on with a rotation that was interrupted")
	drop := flags.Bool("drop-old", false, "afterwards remove from the file the keys that nothing is sealed with any more")
	if err := flags.Parse(args); err != nil {
		return usageError(err)
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	if !*resume {
		if err := secret.AddKey(h.cfg.SealKeyFile); err != nil {
			return err
		}
	}
	if h.sealer, err = secret.LoadSealer(h.cfg.SealKeyFile); err != nil {
		return err
	}
	portal := h.db
	if c := h.cfg.Portal; c.Listen != "" && (c.Database != "" || c.DatabaseFile != "") {
		if portal, err = h.openDB(ctx, c.Database, c.DatabaseFile); err != nil {
			return err
		}
	}
	say := func(format string, values ...any) {
		if !w.json {
			fmt.Fprintf(out, format, values...)
		}
	}
	say("Key %s seals from now on. Servers that run follow the file; waiting %s for them.\n", h.sealer.ID(), followed)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(followed):
	}
	counts := map[string]int64{}
	var total int64
	for _, c := range sealedColumns {
		d := h.db
		if c.portal {
			if d = portal; portal == h.db && slices.ContainsFunc(sealedColumns, func(o sealedColumn) bool { return !o.portal && o.table == c.table && o.column == c.column }) {
				continue // the same table, done already
			}
		}
		n, err := reseal(ctx, d, h.sealer, c)
		if err != nil {
			return err
		}
		if n > 0 {
			say("  %-28s %d\n", c.table+"."+c.column, n)
		}
		counts[c.table+"."+c.column] += n
		total += n
	}
	unused, err := h.unusedKeys(ctx, portal)
	if err != nil {
		return err
	}
	if *drop && len(unused) > 0 {
		if err := secret.DropKeys(h.cfg.SealKeyFile, unused); err != nil {
			return err
		}
	}
	if err := h.audit.Record(ctx, operator(), audit.Event{Action: "seal.rotate", Outcome: "ok", Detail: map[string]string{"key": h.sealer.ID(), "values": fmt.Sprint(total), "dropped": fmt.Sprint(*drop && len(unused) > 0)}}); err != nil {
		return err
	}
	if w.json {
		return printJSON(out, map[string]any{"key": h.sealer.ID(), "values": counts, "unused": unused, "dropped": *drop})
	}
	say("%d values sealed again.\n", total)
	switch {
	case len(unused) == 0 && len(h.sealer.IDs()) > 1:
		say("Older keys are still in use (the portal's sessions end within hours). Later: beffroi key rotate-seal -resume -drop-old\n")
	case len(unused) > 0 && *drop:
		say("Removed from the file: %s. Back-ups of before need them: keep a copy as long as those.\n", strings.Join(unused, ", "))
	case len(unused) > 0:
		say("Nothing is sealed with %s any more: -resume -drop-old removes it from the file. Back-ups of before need it.\n", strings.Join(unused, ", "))
	}
	return nil
}

// unusedKeys are the older keys that no value is sealed with.
func (h *house) unusedKeys(ctx context.Context, portal *db.DB) (unused []string, err error) {
	for _, id := range h.sealer.IDs()[1:] {
		used := false
		look := func(d *db.DB, query string) error {
			var one int
			err := d.QueryRow(ctx, query, "%v1."+id+".%").Scan(&one)
			if errors.Is(err, db.ErrNotFound) {
				return nil
			}
			used = used || err == nil
			return err
		}
		for _, c := range sealedColumns {
			d := h.db
			if c.portal {
				d = portal
			}
			if err := look(d, "SELECT 1 FROM "+c.table+" WHERE "+c.column+" LIKE $1 LIMIT 1"); err != nil {
				return nil, err
			}
		}
		if err := look(portal, "SELECT 1 FROM session WHERE data LIKE $1 LIMIT 1"); err != nil {
			return nil, err
		}
		if !used {
			unused = append(unused, id)
		}
	}
	return unused, nil
}
