package oidc

import (
	"slices"
	"strings"
	"testing"
)

// hostileRedirects are addresses near the two that "tool" has registered:
// https://tool.example.test/callback and http://127.0.0.1/callback.
var hostileRedirects = []string{
	"https://tool.example.test/callback/", "https://tool.example.test/callbac", "https://tool.example.test/callback2", "https://tool.example.test/Callback",
	"https://tool.example.test/callback?", "https://tool.example.test/callback?x=1", "https://tool.example.test/callback#", "https://tool.example.test/callback#x",
	"https://TOOL.example.test/callback", "HTTPS://tool.example.test/callback", "http://tool.example.test/callback", "https://tool.example.test:443/callback",
	"https://tool.example.test./callback", "https://tool.example.test\\callback", "https://tool.example.test/%63allback", "https://tool.example.test//callback",
	"https://tool.example.test/x/../callback", "https://tool.example.test/./callback", "https://tool.example.test@evil.test/callback", "https://a@tool.example.test/callback",
	"https://tool.example.test%2fcallback", "https://evil.test/https://tool.example.test/callback", "//tool.example.test/callback", "/callback", "callback", " " + back, back + " ", back + "\n", back + "\x00",
	"https://tool.example.test.evil.test/callback", "https://eviltool.example.test/callback", "https://[tool.example.test]/callback", "javascript:alert(1)", "data:text/html,x",
	"http://127.0.0.1:99999/callback", "http://127.0.0.1:0/callback", "http://127.0.0.1:08080/callback", "http://127.0.0.1:/callback", "http://127.0.0.1:-1/callback", "http://127.0.0.1:65536/callback",
	"http://x@127.0.0.1:9/callback", "http://127.0.0.1:80@evil.test/callback", "http://127.0.0.1:9/%63allback", "http://127.0.0.1:9/callback#", "http://127.0.0.1:9/callback?", "http://127.0.0.1:9/callback/",
	"http://127.0.0.1:9/x/callback", "http://127.0.0.1.evil.test/callback", "http://127.0.0.1:9.evil.test/callback", "http://127.0.0.2:9/callback", "http://127.1:9/callback", "http://localhost:9/callback", "http://localhost/callback",
	"http://[::1]:9/callback", "http://2130706433/callback", "http://0x7f.1/callback", "https://127.0.0.1:9/callback", "http://127.0.0.1:9\\@evil.test/callback", "http://127.0.0.1:9:9/callback", "http://127.0.0.1: 9/callback", "http://127.0.0.1:９/callback",
	"http://127.0.0.1:1/evil:2/callback", "http://[::ffff:127.0.0.1]:9/callback",
}

func TestLoopbackAddressesTakeAnyPortAndNothingElse(t *testing.T) {
	registered := []string{back, "http://127.0.0.1/callback", "http://[::1]/cb", "http://127.0.0.1:7000/fixed", "http://localhost/cb"}
	for _, uri := range []string{back, "http://127.0.0.1/callback", "http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "http://[::1]:8080/cb", "http://[::1]/cb", "http://127.0.0.1:7000/fixed", "http://localhost/cb"} {
		if !matchRedirect(registered, uri) {
			t.Errorf("refused: %s", uri)
		}
	}
	for _, uri := range append([]string{"http://127.0.0.1:7001/fixed", "http://localhost:8080/cb", "http://[::1]:8080/callback", "http://[::1%25lo]:80/cb"}, hostileRedirects...) {
		if matchRedirect(registered[:2], uri) || matchRedirect(registered, uri) && uri != "http://[::1]:9/callback" {
			t.Errorf("accepted: %q", uri)
		}
	}
	for _, uri := range []string{"javascript:alert(1)", "data:text/html,x", "http://tool.example.test/cb", "https://a@b.test/", "https://b.test/#f", "https://b.test/*", "https://*.b.test/", "https://b.test/a/../b", "//b.test", "/cb", "", "https://", "https://b.test;script-src/", "https://b.test,x/", "https://b'.test/", "https://b!.test/", "https://[fe80::1%25eth0]/", "https://:443/", "https://b.test/a b", "https://b.test\\c", "com.example.app:/cb"} {
		if checkRegistered(uri, false) == nil {
			t.Errorf("may be registered: %q", uri)
		}
	}
	if checkRegistered("com.example.app:/cb", true) != nil || checkRegistered("javascript:x", true) == nil || checkRegistered("vbscript:x", true) == nil {
		t.Error("schemes of public applications")
	}
}

// TestRow01NoMutationOfARegisteredAddressIsTaken tries what a fuzzer would begin
// with, in every run of the tests: each registered address with one or two
// characters put in, taken out or exchanged.
func TestRow01NoMutationOfARegisteredAddressIsTaken(t *testing.T) {
	registered := []string{back, "http://127.0.0.1/callback", "http://[::1]/cb?x=1"}
	alphabet := "/\\:@.?#%&=;*[]()'\" \t\r\n\x00a0-_~é。／"
	try := func(uri string) {
		if !matchRedirect(registered, uri) || slices.Contains(registered, uri) {
			return
		}
		if err := sameToABrowser(registered, uri); err != nil || !strings.HasPrefix(uri, "http://127.0.0.1:") && !strings.HasPrefix(uri, "http://[::1]:") {
			t.Errorf("accepted: %q, %v", uri, err)
		}
	}
	for _, uri := range append([]string{"http://127.0.0.1:4711/callback", "http://[::1]:1/cb?x=1"}, registered...) {
		for i := range len(uri) + 1 {
			for _, c := range alphabet {
				inserted := uri[:i] + string(c) + uri[i:]
				try(inserted)
				for j := range len(inserted) + 1 {
					try(inserted[:j] + "@evil.test" + inserted[j:])
					try(inserted[:j] + ":1" + inserted[j:])
				}
				if i < len(uri) {
					try(uri[:i] + string(c) + uri[i+1:])
				}
			}
			if i < len(uri) {
				try(uri[:i] + uri[i+1:])
				try(uri[:i] + strings.ToUpper(uri[i:]))
			}
		}
	}
}
