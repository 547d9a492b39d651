package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// mailMessages is how many messages the mailbox has that is measured.
const mailMessages = 60_000

// mailPage measures a mailbox of 60,000 messages in a real Dovecot with a full-text index, by one person who has looked at it before.
func mailPage(t testing.TB) int {
	postgres := testpeer.StartPostgres(t, testpeer.PostgresOptions{Durable: true})
	parts := &rig.Parts{Database: postgres.Database(), Slapd: testpeer.Slapd(t)}
	parts.Dovecot = testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: parts.Introspection(t), CacheTokens: true, FullText: true})
	roundcube := testpeer.FreePort(t)
	parts.Apps = roundcubeApp(fmt.Sprintf("http://127.0.0.1:%d", roundcube))
	parts.Dovecot.Fill("mdupont", mailMessages)
	parts.Dovecot.Index("mdupont")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	beffroi := rig.Serve(t, parts)
	v, err := signedIn(ctx, beffroi.Portal+"/mail/")
	if err != nil {
		fmt.Printf("mail: %v\n", err)
		return 1
	}
	look := func(int, int) error {
		page, err := v.Get(ctx, beffroi.Portal+"/mail/")
		if err == nil && (page.Status != 200 || !page.Says(fmt.Sprintf("Message %d", mailMessages-1))) {
			err = fmt.Errorf("the first page is %s", page)
		}
		return err
	}
	rows := regexp.MustCompile(`class="mail-row-link" href="([^"]+)"`)
	var messages []string
	open := func(worker, i int) error {
		if len(messages) == 0 {
			page, err := v.Get(ctx, beffroi.Portal+"/mail/")
			if err != nil {
				return err
			}
			for _, m := range rows.FindAllStringSubmatch(page.Body, -1) {
				messages = append(messages, m[1])
			}
		}
		page, err := v.Get(ctx, beffroi.Portal+messages[i%len(messages)])
		if err == nil && (page.Status != 200 || !page.Says("Ceci est un message.")) {
			err = fmt.Errorf("a message is %s", page)
		}
		return err
	}
	search := func(_, i int) error {
		page, err := v.Get(ctx, fmt.Sprintf("%s/mail/search?q=%d", beffroi.Portal, 10_000+i*37))
		if err == nil && (page.Status != 200 || !page.Says(fmt.Sprintf("Message %d", 10_000+i*37)) || page.Says("notice-warn")) {
			err = fmt.Errorf("a search is %s", page)
		}
		return err
	}
	refresh := func(int, int) error { // what the page asks for by itself while it stays open
		page, err := v.Get(ctx, beffroi.Portal+"/mail/badge")
		if err == nil && page.Status != 200 {
			err = fmt.Errorf("the count is %s", page)
		}
		return err
	}
	form := (*visitor.Form)(nil)
	send := func(_, i int) error {
		if form == nil {
			page, err := v.Get(ctx, beffroi.Portal+"/mail/compose")
			if err == nil {
				form, err = page.Form("text")
			}
			if err != nil {
				return err
			}
		}
		id := fmt.Sprintf("%026d", i)
		page, err := v.Submit(ctx, form, map[string]string{"id": strings.NewReplacer("0", "a", "1", "b", "8", "c", "9", "d").Replace(id), "to": "sarah.smith@academie.test", "subject": fmt.Sprintf("Mesure %d", i), "text": "Bonjour.", "action": "send"}, "http")
		if err == nil && page.Location() == "" {
			err = fmt.Errorf("not accepted: %s", page)
		}
		return err
	}
	processes := []process{{"beffroi", beffroi.PID}, {"dovecot", parts.Dovecot.PID}, {"postgresql", postgres.PID}}
	warm := measure("", 0, nil, 1, 5, look)
	time.Sleep(30 * time.Second) // the mailbox is read once for its conversations, in the background, and PostgreSQL counts its tables every minute
	results := []result{
		measure("first page of 60,000 messages (p95 under 150 ms)", 0, processes, 1, 50, look),
		measure("open a message (under 100 ms)", 0, processes, 1, 50, open),
		measure("search a word in all of them (under 300 ms)", 0, processes, 1, 40, search),
		measure("how many are unread (under 20 ms)", 0, processes, 1, 50, refresh),
		measure("send accepted (under 300 ms)", 0, processes, 1, 30, send),
	}
	other, weights := besideRoundcube(ctx, t, parts, beffroi, roundcube, v)
	processes = append(processes, process{"roundcube", nil})
	results = append(results, other)
	fmt.Println("\nThe webmail, one person:")
	show(results, processes)
	fmt.Printf("scripts of the list page: %d KB, compressed (60 at most)\n", scripts(ctx, v, beffroi.Portal+"/mail/")/1000)
	fmt.Printf("%s\nRoundcube takes %.1f times as long as Beffroi to show the list\n", weights, ms(other.p50)/ms(results[0].p50))
	failures := warm.failures
	for _, r := range results {
		failures += r.failures
	}
	beffroi.Stop()
	parts.Dovecot.Stop()
	return failures
}

// signedIn is the browser of the person who looks, at an address that asks to sign in.
func signedIn(ctx context.Context, address string) (*visitor.Visitor, error) {
	v := visitor.New()
	page, err := v.Open(ctx, address, "")
	if err == nil {
		page, err = v.SignIn(ctx, page, &visitor.Person{Login: "mdupont", Password: testpeer.Password}, "")
	}
	if err == nil && page.Status != 200 {
		err = fmt.Errorf("not signed in: %s", page)
	}
	return v, err
}
