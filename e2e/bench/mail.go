package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// mailPage measures the first page of a mailbox of 10,000 messages in a real Dovecot, by one person who has looked at it before.
func mailPage(t testing.TB) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	postgres := testpeer.StartPostgres(t, testpeer.PostgresOptions{Durable: true})
	parts := &rig.Parts{Database: postgres.Database(), Slapd: testpeer.Slapd(t)}
	parts.Dovecot = testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: parts.Introspection(t), CacheTokens: true})
	parts.Dovecot.Fill("mdupont", 10_000)
	beffroi := rig.Serve(t, parts)
	v, err := signedIn(ctx, beffroi.Portal+"/mail/")
	if err != nil {
		fmt.Printf("mail: %v\n", err)
		return 1
	}
	look := func(int, int) error {
		page, err := v.Get(ctx, beffroi.Portal+"/mail/")
		if err == nil && (page.Status != 200 || !page.Says("Message 9999")) {
			err = fmt.Errorf("the first page is %s", page)
		}
		return err
	}
	processes := []process{{"beffroi", beffroi.PID}, {"dovecot", parts.Dovecot.PID}, {"postgresql", postgres.PID}}
	warm := measure("", 0, nil, 1, 5, look)
	time.Sleep(8 * time.Second) // the mailbox is read once for its conversations, in the background, and PostgreSQL counts its tables every minute
	r := measure("first page of 10,000 messages (under 150 ms)", 0, processes, 1, 50, look)
	fmt.Println("\nThe webmail, one person:")
	show([]result{r}, processes)
	beffroi.Stop()
	parts.Dovecot.Stop()
	return warm.failures + r.failures
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
