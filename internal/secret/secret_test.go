package secret_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"beffroi/internal/secret"
)

func TestSecretNeverPrints(t *testing.T) {
	type form struct{ Password secret.String }
	f := form{"Beffroi-59!"}
	j, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{fmt.Sprint(f), fmt.Sprintf("%v %+v %#v %s %q", f, f, f, f.Password, f.Password), string(j), f.Password.LogValue().String()} {
		if strings.Contains(out, "Beffroi") {
			t.Errorf("printed: %s", out)
		}
	}
	if f.Password.Reveal() != "Beffroi-59!" {
		t.Error("Reveal does not")
	}
}

func TestSealedOpensForItsPurposeOnly(t *testing.T) {
	s := secret.NewSealer([32]byte{1})
	sealed := s.Seal("totp:alice", "JBSWY3DP")
	if plain, err := s.Open("totp:alice", sealed); err != nil || plain != "JBSWY3DP" {
		t.Fatalf("Open: %q, %v", plain, err)
	}
	if again := s.Seal("totp:alice", "JBSWY3DP"); again == sealed {
		t.Error("the same plain text sealed twice looks the same")
	}
	tampered := sealed[:len(sealed)-2] + "AA"
	for name, open := range map[string]func() (string, error){
		"another purpose": func() (string, error) { return s.Open("totp:bob", sealed) },
		"another key":     func() (string, error) { return secret.NewSealer([32]byte{2}).Open("totp:alice", sealed) },
		"a changed byte":  func() (string, error) { return s.Open("totp:alice", tampered) },
		"nothing":         func() (string, error) { return s.Open("totp:alice", "") },
		"plain text":      func() (string, error) { return s.Open("totp:alice", "JBSWY3DP") },
	} {
		if plain, err := open(); !errors.Is(err, secret.ErrSeal) {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
	}
}

func TestKeyFileIsPrivateAndNeverOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if _, err := secret.LoadSealer(path); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("missing key: %v", err)
	}
	if err := secret.CreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	one, err := secret.LoadSealer(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := secret.CreateKeyFile(path); err == nil {
		t.Error("an existing key was overwritten")
	}
	two, err := secret.LoadSealer(path)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := two.Open("p", one.Seal("p", "x")); err != nil || plain != "x" {
		t.Error("a replica with the same file cannot open what the other sealed")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.LoadSealer(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.LoadSealer(path); err == nil {
		t.Error("a key of five letters was taken")
	}
}

func TestRandomIsLongAndFresh(t *testing.T) {
	a, b := secret.Random(), secret.Random()
	if len(a) != 43 || a == b {
		t.Fatalf("%q, %q", a, b)
	}
	if secret.Hash(a) == a || secret.Hash("abc") != "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0" || !secret.Equal(a, a) || secret.Equal(a, b) {
		t.Error("Hash or Equal is wrong")
	}
}
