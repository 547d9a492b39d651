package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"beffroi/oidc"
)

// writeKeys keeps a folder of public keys as Dovecot reads them when it checks
// JWTs itself: DIR/APPLICATION/ALG/KID, the application being the one that the
// token was issued to. A key that is no longer published is removed, else what
// it signed would be believed for ever. Only what changes is told: cron mails it.
func writeKeys(ctx context.Context, out io.Writer, w *where, h *house, dir string) error {
	keys, err := h.provider.Keys().List(ctx)
	if err != nil {
		return err
	}
	applications, err := h.clients.List(ctx)
	if err != nil {
		return err
	}
	wanted := map[string][]byte{}
	for _, k := range keys {
		if k.State == oidc.KeyRetired || k.Alg == oidc.EdDSA { // which Dovecot does not read
			continue
		}
		for _, one := range applications {
			wanted[filepath.Join(dir, one.ID, k.Alg, k.KID)] = k.PEM
		}
	}
	written, removed := []string{}, []string{}
	for path, text := range wanted {
		changed, err := writeFile(path, text)
		if err != nil {
			return fmt.Errorf("keys for Dovecot: %w", err)
		}
		if changed {
			written = append(written, path)
		}
	}
	for _, alg := range oidc.Algorithms() {
		there, err := filepath.Glob(filepath.Join(dir, "*", alg, "*"))
		if err != nil {
			return fmt.Errorf("keys for Dovecot: %w", err)
		}
		for _, path := range there {
			if wanted[path] != nil {
				continue
			}
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("keys for Dovecot: %w", err)
			}
			removed = append(removed, path)
		}
	}
	if w.json {
		return printJSON(out, map[string][]string{"written": written, "removed": removed})
	}
	if len(written)+len(removed) > 0 {
		_, err = fmt.Fprintf(out, "%s: %d files written, %d removed.\n", dir, len(written), len(removed))
	}
	return err
}

// writeFile puts text at path at once, whole, if it is not there yet.
func writeFile(path string, text []byte) (changed bool, err error) {
	before, err := os.ReadFile(path)
	if err == nil && bytes.Equal(before, text) {
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return false, err
	}
	return true, os.Rename(f.Name(), path)
}
