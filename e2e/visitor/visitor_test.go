package visitor

import (
	"net/http"
	"net/url"
	"testing"
)

// The last six digits of RFC 6238 appendix B, SHA-1, for its secret "12345678901234567890".
func TestCodesAreThoseOfTheStandard(t *testing.T) {
	a, err := NewAuthenticator("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
	if err != nil {
		t.Fatal(err)
	}
	for seconds, code := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037"} {
		if got := a.at(seconds / 30); got != code {
			t.Errorf("at %d s the code is %s, not %s", seconds, got, code)
		}
	}
}

func TestCodesAreGivenOnce(t *testing.T) {
	a, err := NewAuthenticator("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
	if err != nil {
		t.Fatal(err)
	}
	first, second := a.Code(), a.Code()
	if first == second || a.Last() != second {
		t.Errorf("codes %s, %s, last %s", first, second, a.Last())
	}
}

func TestFormsAreFilledAsABrowserWould(t *testing.T) {
	u, err := url.Parse("http://localhost:8080/signin?flow=x")
	if err != nil {
		t.Fatal(err)
	}
	page := &Page{Status: http.StatusOK, URL: u, Body: `<form action="/signin" method="post"><input type="hidden" name="flow" value="x">
		<input name="username" autocomplete="username webauthn"><input type="password" name="password"><textarea name="note">
line</textarea><input type="checkbox" name="stay" checked><input type="checkbox" name="no"><select name="lang"><option value="fr">F<option value="en" selected>E</select>
		<button name="do" value="go">Go</button></form><a href="otpauth://totp/x?secret=ABC">app</a> <a href="../mail/">Courrier <b>(3)</b></a>`}
	form, err := page.Form("password")
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"flow": {"x"}, "username": {""}, "password": {""}, "note": {"line"}, "stay": {"on"}, "lang": {"en"}}
	if form.Action != "http://localhost:8080/signin" || form.Method != http.MethodPost || form.Values.Encode() != want.Encode() {
		t.Errorf("%s %s %v", form.Method, form.Action, form.Values)
	}
	if form.Autocomplete["username"] != "username webauthn" || form.Types["do"] != "button" {
		t.Errorf("%v %v", form.Autocomplete, form.Types)
	}
	if page.TOTPSecret() != "ABC" || page.Link("Courrier") != "http://localhost:8080/mail/" {
		t.Errorf("%v", page.Links())
	}
}
