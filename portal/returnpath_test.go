package portal

import "testing"

func TestReturnPathNeverLeavesThePortal(t *testing.T) {
	for asked, want := range map[string]string{
		"/":                              "/",
		"/mail/":                         "/mail/",
		"/agenda/?day=2026-11-23&view=x": "/agenda/?day=2026-11-23&view=x",
		"/contacts/?q=%C3%A9cole":        "/contacts/?q=%C3%A9cole",
		"/mail/INBOX/12?part=1%2E2":      "/mail/INBOX/12?part=1%2E2",
		"/?next=https://evil.test/":      "/?next=https://evil.test/",
		"":                               "/",
		"mail":                           "/",
		"//evil.test":                    "/",
		"///evil.test":                   "/",
		"/\\evil.test":                   "/",
		"\\\\evil.test":                  "/",
		"/%5Cevil.test":                  "/",
		"/%5c%5cevil.test":               "/",
		"/%2f%2fevil.test":               "/",
		"/%2Fevil.test":                  "/",
		"/a//evil.test":                  "/",
		"https://evil.test/":             "/",
		"HTTPS://evil.test":              "/",
		"javascript:alert(1)":            "/",
		"data:text/html,x":               "/",
		"/\tevil":                        "/",
		"/\r\nLocation: https://evil":    "/",
		"/%0d%0aSet-Cookie:x=y":          "/",
		"/%09/evil.test":                 "/",
		"/\x00":                          "/",
		" /mail/":                        "/",
		"/ /evil.test":                   "/",
		"/@evil.test":                    "/@evil.test",
		"http://127.0.0.1:8081/mail/":    "/",
		"//user@evil.test/":              "/",
		"/./\\evil.test":                 "/",
		"/..//evil.test":                 "/",
		"/.//evil.test":                  "/",
		"/mail/#//evil.test":             "/",
		"/%zz":                           "/",
		"/login?next=/mail/":             "/",
		"/callback?code=x":               "/",
		"/mail/../callback":              "/",
		"/logout":                        "/",
		"/signed-out":                    "/",
	} {
		if got := returnPath(asked); got != want {
			t.Errorf("%q leads to %q, want %q", asked, got, want)
		}
	}
	long := "/mail/?q="
	for range 600 {
		long += "a"
	}
	if got := returnPath(long); got != "/" {
		t.Errorf("a long path leads to %.20q…", got)
	}
}
