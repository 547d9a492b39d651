// Command bench measures what each operation of a running Beffroi costs, over HTTP, beside a real PostgreSQL (that waits for
// the disk) and a real slapd with 2,000 people and {SSHA} passwords. Each sign-in comes from a fresh browser, groups are in the
// token, every ID token is verified. For each operation it prints the CPU milliseconds that every server process spent, the
// latencies and the failures, beside the floor: what one bind, one signature, one small request and one commit cost on this
// machine in the same run.
//
//	go run ./e2e/bench                     the table at 8 workers, then short runs that must not fail: 64 and 256 workers, SQLite
//	go run ./e2e/bench -workers 64         the table at 64 workers only
//	go run ./e2e/bench -alg ES256          with ES256 signatures
//	go run ./e2e/bench -database sqlite    on SQLite
//	go run ./e2e/bench -only refresh,sso   these operations only
//
// The clients run on the same machine, so latencies hold their work too; CPU times do not. It ends with 1 when anything failed.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"beffroi/internal/testpeer"
)

// options of one run of the table.
type options struct {
	workers, count int
	database, alg  string
	only           string
	short          bool // few operations, failures only
}

func main() {
	var o options
	flag.IntVar(&o.workers, "workers", 0, "how many clients at once; 0 is the whole programme: the table at 8, then 64, 256 and SQLite")
	flag.IntVar(&o.count, "n", 1000, "sign-ins; other operations in proportion to their cost")
	flag.StringVar(&o.database, "database", "postgres", "postgres or sqlite")
	flag.StringVar(&o.alg, "alg", "RS256", "signature of ID tokens: RS256 or ES256")
	flag.StringVar(&o.only, "only", "", "comma-separated operations to measure: signin, totp, sso, par, refresh, refreshjwt, credentials, assertion, introspect, introspectjwt, userinfo, mail, live, desk")
	flag.Parse()
	whole := o.workers == 0
	if whole {
		o.workers = 8
	}
	failures := 0
	err := testpeer.Main("bench", os.Stderr, func(t testing.TB) {
		if o.only != "mail" && o.only != "live" && o.only != "desk" {
			failures += table(t, o)
		}
		if whole && o.wanted("mail") {
			failures += mailPage(t)
		}
		if whole && o.wanted("live") {
			failures += livePages(t)
		}
		if whole && o.wanted("desk") {
			failures += desk(t)
		}
		if whole && o.only == "" {
			fmt.Println("\nNothing may fail, whatever the crowd:")
			for _, c := range []struct {
				workers  int
				database string
			}{{64, o.database}, {256, o.database}, {8, "sqlite"}, {64, "sqlite"}, {256, "sqlite"}} {
				run := o
				run.workers, run.database, run.short = c.workers, c.database, true
				failures += table(t, run)
			}
		}
	})
	if err != nil || failures > 0 {
		fmt.Printf("\n%d failures\n", failures)
		os.Exit(1)
	}
}

// wanted tells whether an operation is asked for.
func (o options) wanted(name string) bool {
	if o.only == "" {
		return true
	}
	for _, word := range strings.Split(o.only, ",") {
		if word == name {
			return true
		}
	}
	return false
}
