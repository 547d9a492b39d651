package webmail

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
)

func TestNotificationsAreAsThePersonChose(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	rules := func(b *browser) (got notifyRules) {
		t.Helper()
		req, _ := http.NewRequest(http.MethodGet, r.web.URL+"/mail/notifications", nil)
		req.Header.Set("Accept", "application/json")
		if err := json.Unmarshal([]byte(b.do(req)), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := rules(b); got.On || got.Only == nil {
		t.Fatalf("before anything was chosen: %+v", got)
	}
	for _, bad := range []url.Values{{"quiet": {"1"}, "from": {"7h"}, "until": {"19:00"}}, {"on": {"1"}, "only": {"pas une adresse"}}, {"on": {"1"}, "only": {"@"}}} {
		b.post("/mail/notifications", bad)
		b.status(422)
	}
	b.post("/mail/notifications", url.Values{"on": {"1"}, "quiet": {"1"}, "from": {"20:00"}, "until": {"07:00"}, "only": {"Chef@academie.test, @mairie.test"}})
	b.status(200)
	b.sees("Choix enregistré", `value="20:00"`, "chef@academie.test, @mairie.test")
	if got := rules(b); !got.On || !got.Quiet || got.From != "20:00" || len(got.Only) != 2 || got.Only[1] != "@mairie.test" {
		t.Fatalf("%+v", got)
	}
	b.post("/mail/notifications", url.Values{"on": {"1"}, "from": {"20:00"}, "until": {"07:00"}, "box": {"Archive"}})
	b.sees(`value="Archive" checked`)
	if got := rules(b); len(got.Boxes) != 1 || got.Boxes[0] != "Archive" {
		t.Fatalf("%+v", got)
	}
	if got := rules(r.browser("jmartin")); got.On {
		t.Fatal("rules of another person")
	}
}
