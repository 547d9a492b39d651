package signin

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/db/dbtest"
	"beffroi/mfa"
)

// walker takes the steps of a sign-in in any order, in two browsers, and knows
// what was truly proven in each.
type walker struct {
	t        *testing.T
	g        *rig
	browsers [2]*browser
	pages    [2]answer
	password [2]map[string]bool // by person: the right one was sent from this browser
	factor   [2]map[string]bool
	codes    []string
	has      string // ID of who has factors
	none     string // ID of who has none
	login    map[string]string
}

// FuzzSignInSteps sends every step empty, repeated, out of order, from another
// browser and for another flow. Whatever comes, an application is told of a
// person only in a browser that sent their password, and of two factors only in
// one that sent a right factor of theirs.
func FuzzSignInSteps(f *testing.F) {
	f.Add([]byte{0, 3, 7})                     // password and code
	f.Add([]byte{0, 5, 11})                    // password and enrolment
	f.Add([]byte{0, 8, 7, 9, 11, 12, 13})      // steps before the password
	f.Add([]byte{1, 3, 0, 12, 12, 13, 6, 8})   // a session with one factor, then empty posts
	f.Add([]byte{0, 3, 14, 7, 14, 9, 8, 8})    // begun in one browser, ended in the other
	f.Add([]byte{0, 3, 5, 7, 11, 10, 0, 5})    // two people in one flow
	f.Add([]byte{2, 3, 7, 2, 3, 15, 15, 7, 0}) // fresh sign-ins, and time that passes
	f.Add([]byte{0, 3, 9, 17, 0, 3, 9, 16, 7}) // recovery codes, signing out
	f.Add([]byte{18, 3, 7, 12, 13, 18, 5, 11}) // what nothing here can prove
	g := newRig(&testing.T{}, dbtest.Open(f, "sqlite"), Config{FactorLimit: 100, PasswordLimit: 100, Trust: 24 * time.Hour,
		Rules: []Rule{{Name: "later", Applications: []string{"weak"}, Assurance: 2, Grace: time.Hour, Deferrals: 3}}})
	if err := g.mfa.UsePasskeys(passkeyOrigin, mfa.PasskeyConfig{}); err != nil {
		f.Fatal(err)
	}
	n := 0
	f.Fuzz(func(t *testing.T, steps []byte) {
		if len(steps) > 24 {
			steps = steps[:24]
		}
		n++
		g.t = t
		w := &walker{t: t, g: g, has: fmt.Sprintf("id-has-%d", n), none: fmt.Sprintf("id-none-%d", n), login: map[string]string{}}
		for _, id := range []string{w.has, w.none} {
			w.login[id] = strings.TrimPrefix(id, "id-")
			g.people.mu.Lock()
			g.people.persons[id] = directory.Person{ID: id, Login: w.login[id], DisplayName: id}
			g.people.mu.Unlock()
		}
		g.enrol(w.has)
		w.codes = g.recovery(w.has)
		for i := range w.browsers {
			w.browsers[i] = g.browser()
			w.password[i], w.factor[i] = map[string]bool{}, map[string]bool{}
		}
		for i, step := range steps {
			w.step(int(step) % 20)
			if t.Failed() {
				t.Fatalf("after step %d of %v", i, steps)
			}
		}
	})
}

func (w *walker) step(n int) {
	b, flow := w.browsers[0], flowOf(w.pages[0])
	switch n {
	case 0:
		w.see(b.get("/begin?app=strong"))
	case 1:
		w.see(b.get("/begin?app=weak"))
	case 2:
		w.see(b.get("/begin?app=strong&prompt=login"))
	case 3, 5:
		id := w.has
		if n == 5 {
			id = w.none
		}
		w.password[0][id] = true
		w.see(b.post("/signin?"+flow, "username", w.login[id], "password", rightPassword))
	case 4:
		w.see(b.post("/signin?"+flow, "username", w.login[w.has], "password", "not it"))
	case 6:
		w.see(b.post("/signin?" + flow))
	case 7:
		code, err := w.g.mfa.Code(context.Background(), w.has)
		if err != nil {
			w.g.advance(time.Minute)
			return
		}
		w.factor[0][w.has] = true
		w.see(b.factor(w.pages[0], "totp", code, "trust", "1"))
	case 8:
		w.see(b.factor(w.pages[0], "totp", ""))
		w.see(b.factor(w.pages[0], "device", "x", "trust", "1"))
		w.see(b.factor(w.pages[0], "", "000000"))
	case 9:
		if len(w.codes) > 0 {
			w.factor[0][w.has] = true
			w.see(b.factor(w.pages[0], "recovery", w.codes[0]))
			w.codes = w.codes[1:]
		}
	case 10: // a code of somebody else
		w.see(b.factor(w.pages[0], "pass", "0000-0000"))
		w.see(b.factor(w.pages[0], "recovery", "0000-0000-0000-0000"))
	case 11:
		code, err := w.g.mfa.Code(context.Background(), w.none)
		if err != nil {
			code = "000000"
		} else {
			w.factor[0][w.none] = true
		}
		w.see(b.post("/signin/enrol?"+flow, "code", code))
	case 12:
		w.see(b.post("/signin/later?" + flow))
	case 13:
		w.see(b.post("/signin/passkey?"+flow, "answer", "{}"))
		w.see(b.post("/signin/enrol/passkey?"+flow, "answer", "{}"))
		w.see(b.factor(w.pages[0], "passkey", "", "answer", "{}"))
	case 14: // the other browser, at the same address
		w.browsers[0], w.browsers[1] = w.browsers[1], w.browsers[0]
		w.password[0], w.password[1] = w.password[1], w.password[0]
		w.factor[0], w.factor[1] = w.factor[1], w.factor[0]
	case 15:
		w.g.advance(11 * time.Minute)
	case 16:
		w.see(b.post("/signin/account?"+flow, "account", "other"))
		w.see(b.post("/signin/switch?" + flow))
	case 17:
		b.post("/logout")
	case 18:
		w.see(b.get("/begin?app=strong&level=3&state=three"))
	case 19:
		for _, path := range []string{"/signin?", "/signin/factor?", "/signin/enrol?", "/signin/later?"} {
			w.see(b.do("POST", path+flow, url.Values{"by": {"totp", "pass"}, "code": {""}, "username": {w.login[w.none]}, "person": {w.has}, "level": {"3"}}))
		}
	}
}

// see holds an answer against what was proven, and keeps the page that it is.
func (w *walker) see(a answer) {
	if strings.Contains(a.path, "flow=") && a.left == nil {
		w.pages[0] = a
	}
	if a.left == nil || a.left.Query().Has("error") {
		return
	}
	who, level := a.left.Query().Get("who"), a.left.Query().Get("level")
	if !w.password[0][who] {
		w.t.Errorf("signed in as %s without the password", who)
	}
	if strings.HasSuffix(a.left.Query().Get("raw"), "three") {
		w.t.Errorf("level %s is enough for a request of level 3", level)
	}
	if level != "1" && !w.factor[0][who] || level > "2" {
		w.t.Errorf("level %s for %s without a factor", level, who)
	}
	data := w.g.data(a)
	for _, given := range data.Factors {
		if given.Method != mfa.Device && !w.factor[0][who] {
			w.t.Errorf("the session of %s keeps %+v", who, given)
		}
	}
}
