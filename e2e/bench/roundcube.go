package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/secret"
	"beffroi/internal/testpeer"
)

const roundcubeSecret = "secret-of-the-roundcube-to-compare"

// roundcubeApp is Roundcube as an application of the provider.
func roundcubeApp(site string) string {
	return fmt.Sprintf("  - id: roundcube\n    name: {fr: Roundcube}\n    secret_sha256: [%s]\n    redirect_uris: [\"%s/index.php/login/oauth\"]\n    scopes: [openid, profile, mail, offline_access]\n"+
		"    grants: [authorization_code, refresh_token]\n    exchange_to: [imap]\n    pkce_waived: true\n    assurance: 1\n", secret.Hash(roundcubeSecret), site)
}

// besideRoundcube opens the same mailbox with Debian's Roundcube: its page and, as its script does, the list in it.
func besideRoundcube(ctx context.Context, t testing.TB, parts *rig.Parts, beffroi *rig.Beffroi, port int, v *visitor.Visitor) (result, string) {
	site := fmt.Sprintf("http://127.0.0.1:%d", port)
	server := testpeer.Roundcube(t, testpeer.RoundcubeOptions{Port: port, Dovecot: parts.Dovecot, Issuer: beffroi.Provider, ClientID: "roundcube", Secret: roundcubeSecret, Resource: "imap"})
	defer server.Stop()
	if page, err := v.Open(ctx, site+"/", ""); err != nil || strings.Contains(page.Body, "login-form") {
		return result{name: "Roundcube", failures: 1, first: fmt.Errorf("not signed in at Roundcube: %s %v", page, err)}, ""
	}
	open := func(int, int) error {
		page, err := v.Get(ctx, site+"/?_task=mail&_mbox=INBOX")
		if err != nil || page.Status != 200 {
			return fmt.Errorf("Roundcube's page is %s %v", page, err)
		}
		list, err := v.Get(ctx, site+"/?_task=mail&_action=list&_mbox=INBOX&_remote=1&_unlock=0")
		if err != nil || !strings.Contains(list.Body, fmt.Sprintf("Message %d", mailMessages-1)) {
			return fmt.Errorf("Roundcube's list is %s %v", list, err)
		}
		return nil
	}
	measure("", 0, nil, 1, 3, open)
	r := measure("the same with Roundcube (Debian's, PHP's own server)", 0, []process{{"roundcube", server.PID}, {"dovecot", parts.Dovecot.PID}}, 1, 20, open)
	ours, theirs := weight(ctx, t, v, beffroi.Portal+"/mail/"), weight(ctx, t, v, site+"/?_task=mail&_mbox=INBOX")
	return r, fmt.Sprintf("what a browser loads for it the first time, compressed: Beffroi %d KB, Roundcube %d KB", ours/1000, theirs/1000)
}

// weight is what a browser loads to show a page, compressed as a web server would.
func weight(ctx context.Context, t testing.TB, v *visitor.Visitor, address string) int {
	browser := testpeer.Chromium(t)
	for _, c := range v.Cookies(address) {
		if _, err := chromedp.Call(browser, network.SetCookie, network.SetCookieParams{Name: c.Name, Value: c.Value, URL: address}); err != nil {
			return 0
		}
	}
	if err := chromedp.Do(browser, chromedp.Navigate(address)); err != nil {
		return 0
	}
	time.Sleep(2 * time.Second) // its script fetches too
	loaded, err := chromedp.Run(browser, chromedp.Evaluate[[]string](`[location.href, ...performance.getEntriesByType("resource").map((e) => e.name)]`))
	if err != nil {
		return 0
	}
	total := 0
	for _, name := range loaded {
		if strings.HasSuffix(name, "/mail/events") || !strings.HasPrefix(name, "http") {
			continue // a stream has no end
		}
		if one, err := v.Get(ctx, name); err == nil {
			total += packed(one.Body)
		}
	}
	return total
}

var script = regexp.MustCompile(`<script src="([^"]+)"`)

// scripts is what the scripts of a page weigh, compressed.
func scripts(ctx context.Context, v *visitor.Visitor, address string) (total int) {
	page, err := v.Get(ctx, address)
	if err != nil {
		return 0
	}
	for _, m := range script.FindAllStringSubmatch(page.Body, -1) {
		to, err := page.URL.Parse(m[1])
		if err != nil {
			continue
		}
		if one, err := v.Get(ctx, to.String()); err == nil {
			total += packed(one.Body)
		}
	}
	return total
}

func packed(text string) int {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // a buffer takes everything
	_ = w.Close()
	return b.Len()
}
