package helpdesk

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"mime/multipart"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/mfa"
)

// oathtool is what another implementation (Debian's oathtool) says a TOTP key of
// this seed shows at that time.
func oathtool(t *testing.T, seed []byte, at time.Time) string {
	t.Helper()
	out, err := exec.Command("oathtool", "--totp", "--digits=6", "-N", at.UTC().Format("2006-01-02 15:04:05 UTC"), hex.EncodeToString(seed)).CombinedOutput()
	if err != nil {
		t.Fatalf("oathtool: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func seedOf(n int) []byte { return []byte(fmt.Sprintf("seed-of-key-number-%04d", n)) }

// pskc is a file of n good TOTP keys and three bad entries (RFC 6030 §4).
func pskc(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><KeyContainer Version="1.0" xmlns="urn:ietf:params:xml:ns:keyprov:pskc">` + "\n")
	entry := func(serial, algorithm, seed string) {
		fmt.Fprintf(&b, `<KeyPackage><DeviceInfo><Manufacturer>Essai</Manufacturer><SerialNo>%s</SerialNo></DeviceInfo><Key Id="%s" Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:%s"><AlgorithmParameters><ResponseFormat Length="6" Encoding="DECIMAL"/></AlgorithmParameters><Data><Secret><PlainValue>%s</PlainValue></Secret><Time><PlainValue>0</PlainValue></Time><TimeInterval><PlainValue>30</PlainValue></TimeInterval></Data></Key></KeyPackage>`+"\n",
			serial, serial, algorithm, seed)
	}
	for i := range n {
		entry(fmt.Sprintf("ESSAI-%04d", i), "totp", base64.StdEncoding.EncodeToString(seedOf(i)))
	}
	entry("ESSAI-0000", "totp", base64.StdEncoding.EncodeToString(seedOf(0))) // twice
	entry("ESSAI-SHORT", "totp", base64.StdEncoding.EncodeToString([]byte("short")))
	entry("ESSAI-OCRA", "ocra", base64.StdEncoding.EncodeToString(seedOf(1)))
	b.WriteString("</KeyContainer>\n")
	return b.Bytes()
}

// upload sends a file as a browser does.
func (b *browser) upload(path string, fields map[string]string, name string, file []byte) answer {
	b.g.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for k, v := range fields {
		_ = w.WriteField(k, v)
	}
	part, err := w.CreateFormFile("file", name)
	if err == nil {
		_, err = part.Write(file)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		b.g.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, b.g.server.URL+path, &body)
	if err != nil {
		b.g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Accept-Language", "fr")
	client := &http.Client{Jar: b.jar}
	res, err := client.Do(req)
	if err != nil {
		b.g.t.Fatal(err)
	}
	defer res.Body.Close()
	var text bytes.Buffer
	_, _ = text.ReadFrom(res.Body)
	return answer{res.StatusCode, res.Request.URL.RequestURI(), text.String()}
}

func TestThousandKeysComeInWithAReport(t *testing.T) {
	each(t, func(t *testing.T, g *rig) {
		desk := g.signed(marie, true)
		ctx := context.Background()
		for name, c := range map[string]struct {
			fields map[string]string
			file   []byte
		}{"no file": {map[string]string{"school": "0590001A"}, nil}, "another school": {map[string]string{"school": "0590003C"}, pskc(1)}, "no school": {nil, pskc(1)}, "a key that is none": {map[string]string{"school": "0590001A", "key": "xyz"}, pskc(1)}} {
			if a := desk.upload("/helpdesk/keys/import", c.fields, "cles.xml", c.file); a.status != http.StatusUnprocessableEntity {
				t.Errorf("%s: %d", name, a.status)
			}
		}
		a := desk.upload("/helpdesk/keys/import", map[string]string{"school": "0590002B"}, "cles.xml", pskc(1000))
		if a.status != http.StatusOK || !strings.Contains(a.body, "<progress") || !strings.HasPrefix(a.path, "/helpdesk/keys/imports/") {
			t.Fatalf("%d at %s", a.status, a.path)
		}
		if n, _ := g.mfa.CountKeys(ctx, mfa.KeyFilter{Lot: strings.TrimPrefix(a.path, "/helpdesk/keys/imports/")}); n != 0 {
			t.Errorf("%d keys before anybody decided", n)
		}
		if more, err := g.mfa.ReadImport(ctx); !more || err != nil {
			t.Fatal(err)
		}
		page := desk.get(a.path)
		for _, part := range []string{"1\u00a0000 clés prêtes", "3 lignes", "déjà plus haut", "secret trop court", "ESSAI-SHORT"} {
			if !strings.Contains(page.body, part) {
				t.Errorf("the report lacks %q", part)
			}
		}
		if strings.Contains(page.body, base64.StdEncoding.EncodeToString(seedOf(1))) {
			t.Error("the report shows a seed")
		}
		for _, fields := range [][]string{{}, {"answer", "take"}, {"answer", "take", "good", "1000"}, {"answer", "take", "good", "999", "only_good", "1"}} {
			if r := desk.post(a.path, fields...); r.status < 400 {
				t.Errorf("%v: %d", fields, r.status)
			}
		}
		if n, _ := g.mfa.CountKeys(ctx, mfa.KeyFilter{School: "0590002B"}); n != 0 {
			t.Fatalf("%d keys half-way", n)
		}
		if r := desk.post(a.path, "answer", "take", "good", "1000", "only_good", "1"); r.status != http.StatusOK || !strings.Contains(r.body, "1\u00a0000 clés entrées") {
			t.Fatalf("%d", r.status)
		}
		if n, _ := g.mfa.CountKeys(ctx, mfa.KeyFilter{School: "0590002B"}); n != 1000 {
			t.Errorf("%d keys", n)
		}
		if r := desk.get("/helpdesk/keys?school=0590002B"); !strings.Contains(r.body, "1\u00a0000 clés") || !strings.Contains(r.body, "after=") {
			t.Error("the list")
		}
		if r := desk.get("/helpdesk/keys?color=red"); r.status != http.StatusBadRequest {
			t.Errorf("an unknown filter: %d", r.status)
		}
		// Another school's helper sees none of it.
		stranger := newRig(t, g.d, func(c *Config) { c.Delegations[0].Schools = []string{"0590001A"}; c.Heads = false })
		stranger.clock.Store(g.clock.Load())
		other := stranger.signed(karim, true)
		if r := other.get("/helpdesk/keys"); strings.Contains(r.body, "ESSAI-") {
			t.Error("another school's keys")
		}
		if r := other.get("/helpdesk/keys/ESSAI-0001"); r.status != http.StatusNotFound {
			t.Errorf("%d", r.status)
		}
		if r := other.get(a.path); r.status != http.StatusNotFound {
			t.Errorf("%d", r.status)
		}
	})
}

func TestKeyFromTheStockToTheSignIn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		g := newRig(t, d, nil)
		ctx := context.Background()
		principal := g.signed(head, true)
		desk := g.signed(marie, true)
		up := desk.upload("/helpdesk/keys/import", map[string]string{"school": "0590002B"}, "cles.xml", pskc(3))
		if _, err := g.mfa.ReadImport(ctx); err != nil {
			t.Fatal(err)
		}
		desk.post(up.path, "answer", "take", "good", "3", "only_good", "1")

		// The head of school gives it to a teacher of the school, against a receipt.
		const at = "/helpdesk/keys/ESSAI-0001"
		step := func(b *browser, name string, fields ...string) answer {
			return b.post(at, append([]string{"step", name, "reason", "rentrée"}, fields...)...)
		}
		if a := step(principal, "hand"); a.status != http.StatusUnprocessableEntity {
			t.Errorf("handed before it is assigned: %d", a.status)
		}
		for _, login := range []string{"", "nobody", "plefebvre", "jmartin"} {
			if a := step(principal, "assign", "login", login); a.status != http.StatusUnprocessableEntity {
				t.Errorf("to %q: %d", login, a.status)
			}
		}
		if a := step(principal, "assign", "login", "ssmith"); a.path != at+"?done" {
			t.Fatalf("assign: %d at %s", a.status, a.path)
		}
		if a := step(principal, "hand"); a.path != at+"?done" {
			t.Fatalf("hand: %d", a.status)
		}
		if a := principal.get("/helpdesk/receipts/ESSAI-0001"); a.status != http.StatusOK || !strings.HasPrefix(a.body, "%PDF-") {
			t.Errorf("the receipt: %d", a.status)
		}

		// She activates it at her first sign-in.
		b := g.browser()
		page := b.get("/account/protect")
		page = b.post(flowAction.FindStringSubmatch(page.body)[1], "username", "ssmith", "password", rightPassword)
		form := regexp.MustCompile(`action="(/signin/enrol/key[^"]*)"`).FindStringSubmatch(page.body)
		if form == nil || !strings.Contains(page.body, "ESSAI-0001") {
			t.Fatal("the sign-in does not offer to activate the key")
		}
		code := oathtool(t, seedOf(1), g.now())
		for _, wrong := range [][]string{{}, {"serial", "ESSAI-0001", "pin", "1234", "answer", "1234" + code}, {"serial", "ESSAI-0001", "pin", "k7x2", "answer", code}, {"serial", "ESSAI-0002", "pin", "k7x2", "answer", "k7x2" + oathtool(t, seedOf(2), g.now())}} {
			if a := b.post(form[1], wrong...); a.status != http.StatusUnprocessableEntity {
				t.Errorf("%v: %d", wrong, a.status)
			}
		}
		if a := b.post(form[1], "serial", "ESSAI-0001", "pin", "k7x2", "answer", "k7x2"+code); a.status != http.StatusOK || !strings.HasPrefix(a.path, "/account") {
			t.Fatalf("%d at %s", a.status, a.path)
		}

		// From now on she signs in with PIN and code, once each.
		sign := func(at time.Time) answer {
			b := g.browser()
			page := b.get("/account/protect")
			page = b.post(flowAction.FindStringSubmatch(page.body)[1], "username", "ssmith", "password", rightPassword)
			return b.post(flowAction.FindStringSubmatch(page.body)[1], "by", "key", "code", "K7X2 "+oathtool(t, seedOf(1), at))
		}
		if a := sign(g.now()); a.status != http.StatusUnprocessableEntity {
			t.Errorf("the code that activated it: %d", a.status)
		}
		g.advance(time.Minute)
		if a := sign(g.now()); a.status != http.StatusOK || !strings.HasPrefix(a.path, "/account") {
			t.Errorf("%d at %s", a.status, a.path)
		}
		// Its clock is half an hour ahead: nothing works until two codes say so.
		g.advance(time.Hour)
		if a := sign(g.now().Add(30 * time.Minute)); a.status != http.StatusUnprocessableEntity {
			t.Errorf("half an hour ahead: %d", a.status)
		}
		fresh := g.signed(head, true)
		ahead := g.now().Add(30 * time.Minute)
		if a := fresh.post(at, "step", "resync", "reason", "décalée", "first", oathtool(t, seedOf(1), ahead), "second", oathtool(t, seedOf(1), ahead.Add(2*time.Hour))); a.status != http.StatusUnprocessableEntity {
			t.Errorf("two codes that do not follow: %d", a.status)
		}
		g.advance(time.Minute) // for the second one to appear
		if a := fresh.post(at, "step", "resync", "reason", "décalée", "first", oathtool(t, seedOf(1), ahead.Add(30*time.Second)), "second", oathtool(t, seedOf(1), ahead.Add(time.Minute))); a.path != at+"?done" {
			t.Fatalf("resync: %d\n", a.status)
		}
		g.advance(2 * time.Minute)
		if a := sign(g.now().Add(30 * time.Minute)); a.status != http.StatusOK || !strings.HasPrefix(a.path, "/account") {
			t.Errorf("after it: %d at %s", a.status, a.path)
		}
		if k, _ := g.mfa.OTPKey(ctx, "ESSAI-0001"); k.Drift < 25*time.Minute {
			t.Errorf("the drift is not remembered: %s", k.Drift)
		}

		// The PIN is forgotten: the head takes it away, she chooses another.
		if a := fresh.post(at, "step", "forget", "reason", "PIN oublié"); a.path != at+"?done" {
			t.Fatalf("forget: %d", a.status)
		}
		b = g.browser()
		page = b.get("/account/protect")
		page = b.post(flowAction.FindStringSubmatch(page.body)[1], "username", "ssmith", "password", rightPassword)
		action := flowAction.FindStringSubmatch(page.body)[1]
		g.advance(time.Minute)
		now := g.now().Add(30 * time.Minute)
		if a := b.post(action, "by", "key", "code", "k7x2"+oathtool(t, seedOf(1), now)); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `name="second"`) {
			t.Fatalf("the old PIN: %d", a.status)
		}
		g.advance(time.Minute)
		if a := b.post(action, "by", "key", "pin", "q9w4", "code", oathtool(t, seedOf(1), now.Add(30*time.Second)), "second", oathtool(t, seedOf(1), now.Add(time.Minute))); a.status != http.StatusOK || !strings.HasPrefix(a.path, "/account") {
			t.Fatalf("a new PIN: %d at %s", a.status, a.path)
		}
		// Lost: nothing of it lives.
		if a := desk.post("/helpdesk/id-ssmith/keys", "serial", "ESSAI-0001", "reason", "perdue dans le train"); a.status != http.StatusOK && a.status != http.StatusForbidden {
			t.Errorf("%d", a.status)
		}
		g2 := g.signed(marie, true)
		if a := g2.post("/helpdesk/id-ssmith/keys", "serial", "ESSAI-0001", "reason", "perdue dans le train"); a.status != http.StatusOK {
			t.Errorf("lost: %d", a.status)
		}
		if k, _ := g.mfa.OTPKey(ctx, "ESSAI-0001"); k.State != mfa.KeyLost {
			t.Errorf("%s", k.State)
		}
		if a := b.get("/account/sessions"); strings.Contains(a.body, `name="sid"`) {
			t.Error("a session of the lost key lives")
		}
	})
}
