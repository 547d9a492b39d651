package e2e

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// portalJourneys are what people do in the portal, as far as it goes without script.
func portalJourneys(t *testing.T, w *world) {
	t.Run("in the portal", func(t *testing.T) { inThePortal(t, w) })
}

func inThePortal(t *testing.T, w *world) {
	for _, j := range []struct {
		name string
		f    func(*testing.T, *world)
	}{
		{"the launcher names the person and leads to the modules", launcher},
		{"a message goes out, arrives, is answered, and stands in Sent", mailRoundTrip},
		{"a message for later leaves a mandate, and can leave now", mailLater},
		{"a hostile message is shown without its poison", hostileMail},
		{"nobody opens another person's message", foreignMail},
		{"an event is made, changed, never overwritten, and removed", agenda},
		{"a search finds cards and colleagues, a card is made and changed", contacts},
		{"the language is the directory's until somebody chooses", language},
		{"signing out of the portal ends it", portalSignOut},
		{"signing out everywhere reaches the portal within a minute", portalNoticesSignOut},
	} {
		t.Run(j.name, func(t *testing.T) {
			t.Parallel()
			j.f(t, w)
		})
	}
}

// portal opens an address of the portal with a browser, signing in when the provider asks.
func (w *world) portal(t *testing.T, ctx context.Context, v *visitor.Visitor, login, path string) *visitor.Page {
	t.Helper()
	page, err := v.Open(ctx, w.Portal+path, "")
	if err != nil {
		t.Fatalf("%s opens %s: %v", login, path, err)
	}
	if page, err = v.SignIn(ctx, page, w.people[login], ""); err != nil {
		t.Fatalf("%s opens %s: %v", login, path, err)
	}
	if page.Status != 200 || page.URL.Scheme+"://"+page.URL.Host != w.Portal {
		t.Fatalf("%s opens %s and gets %s", login, path, page)
	}
	checkHeaders(t, page)
	return page
}

func launcher(t *testing.T, w *world) {
	ctx := journey(t)
	v := w.browser(t, ctx, "mdupont")
	page := w.portal(t, ctx, v, "mdupont", "/")
	if !page.Says("Marie Dupont") {
		t.Errorf("the launcher does not name Marie Dupont: %s", page)
	}
	for _, module := range []string{"/mail/", "/agenda/", "/contacts/"} {
		if page.LinkTo(w.Portal+module) == "" {
			t.Errorf("no tile leads to %s: %v", module, page.Links())
			continue
		}
		if p := w.portal(t, ctx, v, "mdupont", module); len(p.Text()) < 40 {
			t.Errorf("%s is empty: %s", module, p)
		}
	}
	if page.Says("outil direction-tool", "outil de direction") {
		t.Errorf("mdupont sees the tile of a tool that refuses her: %s", page)
	}
	head := w.portal(t, ctx, w.browser(t, ctx, "jmartin"), "jmartin", "/")
	if !head.Says("outil direction-tool", "outil de direction") {
		t.Errorf("jmartin does not see the tool of heads of school: %s", head)
	}
	if page, err := visitor.New().Get(ctx, w.Portal+"/mail/"); err != nil || !strings.HasPrefix(page.Location(), w.Provider) {
		t.Errorf("without a session the portal answers %s %v", page, err)
	}
}

// send writes a message from the compose page and sends it.
func (w *world) send(t *testing.T, ctx context.Context, v *visitor.Visitor, page *visitor.Page, fields map[string]string) *visitor.Page {
	t.Helper()
	form, err := page.Form("text")
	if err != nil {
		t.Fatal(err)
	}
	if fields["action"] == "" {
		fields["action"] = "send"
	}
	page, err = v.Submit(ctx, form, fields, "")
	if err != nil {
		t.Fatal(err)
	}
	if page.Status != 200 {
		t.Fatalf("after sending: %s", page)
	}
	return page
}

// mailLater schedules a message: the provider gives the portal a grant of its own for
// it, without a page, and the message can leave at once after all.
func mailLater(t *testing.T, w *world) {
	ctx := journey(t)
	jean := visitor.New()
	subject := fmt.Sprintf("Plus tard %d", time.Now().UnixNano())
	page := w.portal(t, ctx, jean, "jmartin", "/mail/compose")
	page = w.send(t, ctx, jean, page, map[string]string{"to": "marie.dupont@academie.test", "subject": subject, "text": "À lundi.", "action": "later", "at": time.Now().AddDate(0, 0, 2).Format("2006-01-02T15:04")})
	if page.URL.Path != "/mail/scheduled" || page.URL.Query().Has("mandate") || !page.Says(subject) {
		t.Fatalf("after scheduling: %s at %s", page, page.URL)
	}
	id := page.URL.Query().Get("id")
	if page, err := jean.Post(ctx, w.Portal+"/mail/outbox", url.Values{"do": {"now"}, "id": {id}}, w.Portal+"/mail/scheduled"); err != nil || page.Status >= 400 {
		t.Fatalf("%v %s", err, page)
	}
	w.findMail(t, ctx, visitor.New(), "mdupont", subject)
}

// sent are the names of the folder of sent messages.
var sent = []string{"Envoyés", "Sent"}

// findMail waits until the inbox, or the folder of one of those names, shows a subject, and gives the message's address.
func (w *world) findMail(t *testing.T, ctx context.Context, v *visitor.Visitor, login, subject string, folder ...string) string {
	t.Helper()
	var found string
	testpeer.WaitFor(t, fmt.Sprintf("%q in the mailbox %v of %s", subject, folder, login), 20*time.Second, func() bool {
		list := w.portal(t, ctx, v, login, "/mail/")
		if len(folder) > 0 {
			to := list.Link(folder...)
			if to == "" {
				t.Fatalf("no folder %v: %s", folder, list)
			}
			var err error
			if list, err = v.Open(ctx, to, ""); err != nil {
				t.Fatal(err)
			}
		}
		found = list.Link(subject)
		if found == "" {
			time.Sleep(200 * time.Millisecond)
		}
		return found != ""
	})
	return found
}

func mailRoundTrip(t *testing.T, w *world) {
	ctx := journey(t)
	subject := fmt.Sprintf("Essai n° %d", time.Now().UnixNano())
	marie, sarah := w.browser(t, ctx, "mdupont"), w.browser(t, ctx, "ssmith")
	compose := w.portal(t, ctx, marie, "mdupont", "/mail/compose")
	w.send(t, ctx, marie, compose, map[string]string{"to": "sarah.smith@academie.test", "subject": subject, "text": "Bonjour Sarah,\n\nÀ jeudi ?\n\nMarie"})

	message := w.findMail(t, ctx, sarah, "ssmith", subject)
	page, err := sarah.Open(ctx, message, "")
	if err != nil || page.Status != 200 {
		t.Fatalf("%s %v", page, err)
	}
	if text := w.messageText(t, ctx, sarah, page); !strings.Contains(text, "À jeudi ?") {
		t.Errorf("the message reads %q", text)
	}
	reply := page.LinkTo("reply=")
	if reply == "" {
		t.Fatalf("no way to reply: %s", page)
	}
	if page, err = sarah.Open(ctx, reply, ""); err != nil {
		t.Fatal(err)
	}
	form, err := page.Form("text")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(form.Values.Get("to"), "marie.dupont@academie.test") || form.Values.Get("subject") != "Re: "+subject || !strings.Contains(form.Values.Get("text"), "> ") {
		t.Errorf("the answer begins as %v", form.Values)
	}
	w.send(t, ctx, sarah, page, map[string]string{"text": "Oui.\n\n" + form.Values.Get("text")})
	w.findMail(t, ctx, marie, "mdupont", "Re: "+subject)
	w.findMail(t, ctx, sarah, "ssmith", "Re: "+subject, sent...)
	w.findMail(t, ctx, marie, "mdupont", subject, sent...)
}

// messageText is what a message says, wherever the page shows it.
func (w *world) messageText(t *testing.T, ctx context.Context, v *visitor.Visitor, page *visitor.Page) string {
	t.Helper()
	text := page.Text()
	for _, frame := range page.Frames() {
		document, err := v.Get(ctx, frame)
		if err != nil {
			t.Fatal(err)
		}
		csp := document.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "script-src 'self'") || !strings.Contains(csp, "sandbox") {
			t.Errorf("the mail document carries %q", csp)
		}
		text += document.Text()
	}
	return text
}

func hostileMail(t *testing.T, w *world) {
	ctx := journey(t)
	v := w.browser(t, ctx, "mdupont")
	list := w.portal(t, ctx, v, "mdupont", "/mail/")
	opened := 0
	for _, l := range list.Links() {
		if !strings.Contains(l.Href, "/mail/inbox/") && !strings.Contains(strings.ToLower(l.Href), "/mail/inbox/") || !strings.Contains(l.Href[strings.LastIndex(l.Href, "/"):], ".") {
			continue
		}
		page, err := v.Open(ctx, l.Href, "")
		if err != nil || page.Status != 200 {
			t.Fatalf("%s: %s %v", l.Href, page, err)
		}
		checkHeaders(t, page)
		for _, frame := range page.Frames() {
			document, err := v.Get(ctx, frame)
			if err != nil {
				t.Fatal(err)
			}
			opened++
			for _, poison := range []string{"<script", "onerror=", "onload=", "javascript:", "src=\"http", "url(http"} {
				if strings.Contains(strings.ToLower(document.Body), poison) {
					t.Errorf("%q: the document holds %s", l.Text, poison)
				}
			}
		}
	}
	if opened == 0 {
		t.Errorf("no message with an HTML document among %v", list.Links())
	}
}

func foreignMail(t *testing.T, w *world) {
	ctx := journey(t)
	v := w.browser(t, ctx, "mdupont")
	list := w.portal(t, ctx, v, "mdupont", "/mail/")
	var address string
	for _, l := range list.Links() {
		if strings.Contains(l.Href, "/mail/") && strings.Contains(l.Href[strings.LastIndex(l.Href, "/"):], ".") {
			address = l.Href
			break
		}
	}
	if address == "" {
		t.Fatalf("no message in %v", list.Links())
	}
	mine, err := v.Open(ctx, address, "")
	if err != nil {
		t.Fatal(err)
	}
	other := w.browser(t, ctx, "plefebvre")
	page, err := other.Open(ctx, address, "")
	if err != nil {
		t.Fatal(err)
	}
	if page.Status == 200 && page.Text() == mine.Text() {
		t.Errorf("plefebvre reads a message of mdupont: %s", page)
	}
}

// fill submits the form of a page that has a field of that name and expects a page.
func fill(t *testing.T, ctx context.Context, v *visitor.Visitor, page *visitor.Page, field string, changes map[string]string) *visitor.Page {
	t.Helper()
	form, err := page.Form(field)
	if err != nil {
		t.Fatal(err)
	}
	if page, err = v.Submit(ctx, form, changes, ""); err != nil {
		t.Fatal(err)
	}
	return page
}

func agenda(t *testing.T, w *world) {
	ctx := journey(t)
	v := w.browser(t, ctx, "mdupont")
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	day := time.Now().In(paris).Format("2006-01-02") // today where the academy is
	title := fmt.Sprintf("Commission n° %d", time.Now().UnixNano())
	open := func(address string) *visitor.Page {
		t.Helper()
		page, err := v.Open(ctx, address, "")
		if err != nil || page.Status != 200 {
			t.Fatalf("%s: %s %v", address, page, err)
		}
		return page
	}
	page := fill(t, ctx, v, w.portal(t, ctx, v, "mdupont", "/agenda/new?day="+day), "title",
		map[string]string{"title": title, "start_day": day, "start_time": "14:00", "end_day": day, "end_time": "15:30", "place": "Salle Molière"})
	if page.Status != 200 {
		t.Fatalf("a new event: %s", page)
	}
	for _, view := range []string{"/agenda/", "/agenda/?view=list"} {
		if w.portal(t, ctx, v, "mdupont", view).Link(title) == "" {
			t.Errorf("%s does not show %s", view, title)
		}
	}
	event := w.portal(t, ctx, v, "mdupont", "/agenda/").Link(title)
	page = open(event)
	if !page.Says("Salle Molière") || !page.Says("14:00") {
		t.Errorf("the event reads %s", page)
	}
	edit := page.LinkTo("/edit")
	mine, theirs := open(edit), open(edit) // two tabs
	if page = fill(t, ctx, v, theirs, "title", map[string]string{"place": "Salle Racine"}); page.Status != 200 {
		t.Fatalf("a change: %s", page)
	}
	if page = fill(t, ctx, v, mine, "title", map[string]string{"place": "Salle Corneille"}); !page.Says("Salle Racine") {
		t.Errorf("the second tab is not told of the first one's change: %s", page)
	}
	if page = open(event); !page.Says("Salle Racine") {
		t.Errorf("the first change is lost: %s", page)
	}
	confirm := open(page.LinkTo("/delete"))
	for _, f := range confirm.Forms() {
		if strings.Contains(f.Action, "/delete") {
			if page, err := v.Submit(ctx, f, nil, ""); err != nil || page.Status != 200 {
				t.Fatalf("remove: %s %v", page, err)
			}
		}
	}
	if w.portal(t, ctx, v, "mdupont", "/agenda/").Link(title) != "" {
		t.Error("the removed event stands there")
	}
}

func contacts(t *testing.T, w *world) {
	ctx := journey(t)
	v := w.browser(t, ctx, "mdupont")
	colleagues := w.portal(t, ctx, v, "mdupont", "/contacts/?q=martin")
	if !colleagues.Says("Jean-François Martin") {
		t.Errorf("the directory is not searched: %s", colleagues)
	}
	family := fmt.Sprintf("Essai%d", time.Now().UnixNano())
	page := fill(t, ctx, v, w.portal(t, ctx, v, "mdupont", "/contacts/new"), "family",
		map[string]string{"given": "Élodie", "family": family, "email": "elodie@ailleurs.test", "phone": "03 20 00 00 00"})
	if page.Status != 200 {
		t.Fatalf("a new card: %s", page)
	}
	card := w.portal(t, ctx, v, "mdupont", "/contacts/?q="+strings.ToLower(family)).Link(family)
	if card == "" {
		t.Fatal("the new card is not found")
	}
	page, err := v.Open(ctx, card, "")
	if err != nil || !page.Says("elodie@ailleurs.test") {
		t.Fatalf("%s %v", page, err)
	}
	if page, err = v.Open(ctx, page.LinkTo("/edit"), ""); err != nil {
		t.Fatal(err)
	}
	fill(t, ctx, v, page, "family", map[string]string{"org": "Collège Molière"})
	if page, err = v.Open(ctx, card, ""); err != nil || !page.Says("Collège Molière", "elodie@ailleurs.test") {
		t.Errorf("after the change: %s %v", page, err)
	}
}

func language(t *testing.T, w *world) {
	ctx := journey(t)
	v := visitor.New()
	page := w.portal(t, ctx, v, "ssmith", "/")
	if !strings.Contains(page.Body, `<html lang="en"`) {
		t.Errorf("ssmith prefers English and gets %.200s", page.Body)
	}
	form, err := page.Form("lang")
	if err != nil {
		t.Fatal(err)
	}
	if page, err = v.Submit(ctx, form, map[string]string{"lang": "fr"}, ""); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.Body, `<html lang="fr"`) {
		t.Errorf("after choosing French: %s", page)
	}
}

func portalSignOut(t *testing.T, w *world) {
	ctx := journey(t)
	v := visitor.New()
	page := w.portal(t, ctx, v, "xpartenaire", "/")
	var form *visitor.Form
	for _, f := range page.Forms() {
		if f.Action == w.Portal+"/logout" {
			form = f
		}
	}
	if form == nil {
		t.Fatalf("no way to sign out: %s", page)
	}
	page, err := v.Submit(ctx, form, nil, "")
	if err != nil || page.Status != 200 {
		t.Fatalf("%s %v", page, err)
	}
	if page, err = v.Open(ctx, w.Portal+"/", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := page.Form("password"); err != nil {
		t.Errorf("after signing out: %v", err)
	}
}

func portalNoticesSignOut(t *testing.T, w *world) {
	ctx := journey(t)
	here, elsewhere := w.browser(t, ctx, "aadmin"), visitor.New()
	defer w.forget("aadmin")
	w.enter(t, ctx, elsewhere, w.demoApp, "aadmin")
	page, err := elsewhere.Open(ctx, w.Provider+"/account/signout", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range page.Forms() {
		if strings.HasSuffix(f.Action, "/account/signout") {
			if page, err = elsewhere.Submit(ctx, f, nil, ""); err != nil || page.Status >= 400 {
				t.Fatalf("%s %v", page, err)
			}
		}
	}
	testpeer.WaitFor(t, "the portal noticing that its person signed out everywhere", 62*time.Second, func() bool {
		page, err := here.Open(ctx, w.Portal+"/", "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = page.Form("password")
		if err != nil {
			time.Sleep(time.Second)
		}
		return err == nil
	})
}
