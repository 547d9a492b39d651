package e2e

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/secret"
	"beffroi/internal/testpeer"
)

// opens tells whether a token opens a mailbox of Dovecot (RFC 7628), and what Dovecot said.
func opens(t *testing.T, server *testpeer.DovecotServer, login, token string) (bool, string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", server.IMAP, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewScanner(conn)
	if !lines.Scan() || !strings.Contains(lines.Text(), "CAPABILITY") && !lines.Scan() { // it may have to wait for its own parts first
		t.Fatalf("Dovecot does not greet: %v", lines.Err())
	}
	bearer := base64.StdEncoding.EncodeToString([]byte("n,a=" + login + ",\x01auth=Bearer " + token + "\x01\x01"))
	if _, err := fmt.Fprintf(conn, "1 AUTHENTICATE OAUTHBEARER %s\r\n", bearer); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines.Scan() {
		line := lines.Text()
		said.WriteString(line + "\n")
		switch {
		case strings.HasPrefix(line, "1 "):
			return strings.HasPrefix(line, "1 OK"), said.String()
		case strings.HasPrefix(line, "+"):
			_, _ = fmt.Fprint(conn, "AQ==\r\n") // the client ends a refused attempt
		}
	}
	t.Fatalf("Dovecot ends without an answer: %s", &said)
	return false, ""
}

// TestDovecotOpensOnAJWTWithoutAskingTheProvider: with the provider's published keys in a folder, Dovecot believes the
// right token and no other, while the provider is stopped.
func TestDovecotOpensOnAJWTWithoutAskingTheProvider(t *testing.T) {
	t.Parallel()
	ctx := journey(t)
	algs := []string{"RS256", "PS256", "ES256"}
	parts := &rig.Parts{Database: "sqlite:" + testpeer.Dir(t) + "/beffroi.db", Slapd: testpeer.Slapd(t), Assurance: 1}
	var audiences []string
	for _, alg := range algs {
		id := "courrier-" + alg
		audiences = append(audiences, id)
		parts.Apps += fmt.Sprintf("  - id: %s\n    name: {fr: Courrier}\n    secret_sha256: [%s]\n    audience: %s\n    scopes: [mail]\n    token_format: jwt\n    token_alg: %s\n", id, secret.Hash(toolSecret), id, alg)
	}
	parts.Apps += fmt.Sprintf("  - id: outil.courrier\n    name: {fr: Outil}\n    secret_sha256: [%s]\n    redirect_uris: [\"http://127.0.0.1/callback\"]\n    scopes: [openid, profile, mail]\n"+
		"    grants: [authorization_code, \"urn:ietf:params:oauth:grant-type:token-exchange\"]\n    exchange_to: [%s]\n", secret.Hash(toolSecret), strings.Join(audiences, ", "))
	w := newWorld(t, rig.Serve(t, parts))
	app := &visitor.Application{Issuer: w.Provider, ID: "outil.courrier", Secret: toolSecret, RedirectURI: "http://127.0.0.1:49152/callback"}
	tokens, _, page, err := visitor.New().Enter(ctx, app, w.people["ssmith"], "openid profile mail")
	if err != nil || tokens == nil {
		t.Fatalf("%v %s", err, page)
	}
	good := map[string]string{}
	for _, audience := range audiences {
		answer, err := app.Token(ctx, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "audience": {audience},
			"subject_token": {tokens.AccessToken}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}})
		if err != nil || answer.Error != "" {
			t.Fatalf("%v %+v", err, answer)
		}
		good[audience] = answer.AccessToken
	}
	keys := testpeer.Dir(t)
	if out, err := w.Command("key", "list", "-pem", keys); err != nil || !strings.Contains(out, "written, 0 removed") {
		t.Fatalf("key list -pem: %v %s", err, out)
	}
	if out, err := w.Command("key", "list", "-pem", keys); err != nil || strings.TrimSpace(out) != "" {
		t.Fatalf("a second run changes something: %v %s", err, out)
	}
	w.Stop()
	for i, audience := range audiences {
		server := testpeer.Dovecot(t, testpeer.DovecotOptions{Keys: keys, Issuer: w.Provider, Audience: audience})
		if ok, said := opens(t, server, "ssmith", good[audience]); !ok {
			t.Errorf("%s: %s\n%s", algs[i], said, server.Log())
			continue
		}
		parts := strings.Split(good[audience], ".")
		for name, token := range map[string]string{
			"another audience": good[audiences[(i+1)%len(audiences)]], "opaque": tokens.AccessToken, "an ID token": tokens.IDToken,
			"no signature": parts[0] + "." + parts[1] + ".", "another's signature": parts[0] + "." + parts[1] + "." + strings.Split(good[audiences[(i+1)%len(audiences)]], ".")[2],
		} {
			if ok, said := opens(t, server, "ssmith", token); ok {
				t.Errorf("%s: %s opens the mailbox: %s", algs[i], name, said)
			}
		}
		if ok, said := opens(t, server, "mdupont", good[audience]); ok {
			t.Errorf("%s: somebody else's mailbox opens: %s", algs[i], said)
		}
	}
}
