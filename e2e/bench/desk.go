package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/internal/testpeer"
)

// wholeAcademy is how many people the desk is searched among.
const wholeAcademy = 70_000

// desk measures what a helper waits for in an academy of 70,000: the search, and the count of the follow-up.
func desk(t testing.TB) int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	postgres := testpeer.StartPostgres(t, testpeer.PostgresOptions{Durable: true})
	parts := &rig.Parts{
		Database: postgres.Database(), Slapd: testpeer.StartSlapd(t, testpeer.SlapdOptions{People: testpeer.GeneratePeople(wholeAcademy)}), Lookup: "  groups: memberof",
		Settings: "  helpdesk:\n    delegations:\n      - {name: everybody, helpers: {logins: [mdupont]}, everyone: true, actions: [read]}\n",
	}
	beffroi := rig.Serve(t, parts)
	v, err := signedIn(ctx, beffroi.Provider+"/helpdesk/")
	if err != nil {
		fmt.Printf("desk: %v\n", err)
		return 1
	}
	processes := []process{{"beffroi", beffroi.PID}, {"slapd", parts.Slapd.PID}, {"postgresql", postgres.PID}}
	var results []result
	for _, one := range []struct{ name, query, finds string }{
		{"a family name", "wattrelos", "Wattrelos"}, {"two words", "marie+dupont", "Marie Dupont"}, {"a login", "u045678", "u045678"},
		{"a mail address", "u045678%40academie.test", "u045678"}, {"a school", "0591100A", "0591100A"}, {"nobody", "zzzzzz", "zzzzzz"},
	} {
		look := func(int, int) error {
			page, err := v.Get(ctx, beffroi.Provider+"/helpdesk/?q="+one.query)
			if err == nil && (page.Status != 200 || !page.Says(one.finds)) {
				err = fmt.Errorf("the desk says %s", page)
			}
			return err
		}
		measure("", 0, nil, 1, 3, look)
		results = append(results, measure("search for "+one.name+" (under 200 ms)", 0, processes, 1, 50, look))
	}
	fmt.Printf("\nThe helpdesk, one helper, %d people:\n", wholeAcademy)
	show(results, processes)
	failures := 0
	for _, r := range results {
		failures += r.failures
	}
	began, shown := time.Now(), time.Duration(0)
	for {
		page, err := v.Get(ctx, beffroi.Provider+"/helpdesk/follow-up")
		if err != nil || page.Status != 200 {
			fmt.Printf("follow-up: %v %s\n", err, page)
			failures++
			break
		}
		if shown == 0 {
			shown = time.Since(began)
		}
		if page.Says("Télécharger", "Download") {
			fmt.Printf("follow-up of all of them: a first answer after %.0f ms, counted after %.0f ms\n", ms(shown), ms(time.Since(began)))
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	beffroi.Stop()
	return failures
}
