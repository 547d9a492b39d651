package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// watchers is how many people have their mail open.
const watchers = 500

// livePages has 500 people sign in, read a message and leave the page open, and tells what each costs in memory and how soon they
// see what comes.
func livePages(t testing.TB) int {
	postgres := testpeer.StartPostgres(t, testpeer.PostgresOptions{Durable: true})
	parts := &rig.Parts{Database: postgres.Database(), Slapd: testpeer.StartSlapd(t, testpeer.SlapdOptions{People: testpeer.GeneratePeople(watchers)}), Assurance: 1}
	parts.Dovecot = testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: parts.Introspection(t), CacheTokens: true})
	beffroi := rig.Serve(t, parts)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	for i := range watchers {
		parts.Dovecot.Fill(fmt.Sprintf("u%06d", i), 60)
	}
	var failures int
	fail := func(err error) {
		if failures++; failures < 4 {
			fmt.Printf("live: %v\n", err)
		}
	}
	people := make([]*visitor.Visitor, watchers)
	signIn := func(i int) error {
		v := visitor.New()
		page, err := v.Open(ctx, beffroi.Portal+"/mail/", "")
		if err == nil {
			page, err = v.SignIn(ctx, page, &visitor.Person{Login: fmt.Sprintf("u%06d", i), Password: testpeer.Password}, "")
		}
		if err == nil && page.Status != 200 {
			err = fmt.Errorf("not signed in: %s", page)
		}
		if err == nil {
			if m := regexp.MustCompile(`class="mail-row-link" href="([^"]+)"`).FindStringSubmatch(page.Body); m != nil {
				_, err = v.Get(ctx, beffroi.Portal+m[1])
			}
		}
		people[i] = v
		return err
	}
	if err := signIn(0); err != nil { // what the first one needs is everybody's
		fmt.Printf("live: %v\n", err)
		return 1
	}
	time.Sleep(2 * time.Second)
	before := resident(beffroi.PID())
	began := time.Now()
	each(watchers-1, 2*runtime.NumCPU(), func(i int) {
		if err := signIn(i + 1); err != nil {
			fail(err)
		}
	})
	arrived := make(chan int, watchers)
	for i, v := range people {
		if err := watch(ctx, v, beffroi.Portal+"/mail/events", i, arrived); err != nil {
			fail(err)
		}
	}
	signed := time.Since(began)
	time.Sleep(20 * time.Second) // everybody's connection waits, the conversations of all are read
	after := resident(beffroi.PID())
	var took []time.Duration
	for n := range 100 {
		i := n * 37 % watchers
		parts.Dovecot.Deliver(fmt.Sprintf("u%06d", i), "From: Sarah Smith <sarah.smith@academie.test>\nSubject: Nouveau\n\nx\n")
		start := time.Now()
		for got := -1; got != i; {
			select {
			case got = <-arrived:
			case <-time.After(2 * time.Second):
				fail(fmt.Errorf("new mail of u%06d is not told", i))
				got = i
			}
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	cpu := treeCPU(beffroi.PID())
	time.Sleep(20 * time.Second)
	idle := treeCPU(beffroi.PID()) - cpu
	fmt.Printf("\n%d people with their mail open (signed in within %.0f s):\n", watchers, signed.Seconds())
	fmt.Printf("memory of the portal and the provider: %.0f MB with one person, %.0f MB with all: %.2f MB for each (goal 3)\n", float64(before)/1e6, float64(after)/1e6, float64(after-before)/1e6/float64(watchers-1))
	fmt.Printf("new mail is told after %.0f ms (p50), %.0f ms (p99) of 100 (goal 2000); CPU while nothing happens: %.1f %% of one core\n", ms(took[len(took)/2]), ms(took[len(took)-1]), idle.Seconds()/20*100)
	if float64(after-before)/1e6/float64(watchers-1) > 3 || took[len(took)-1] > 2*time.Second {
		fmt.Println("live: above the goal")
	}
	beffroi.Stop()
	parts.Dovecot.Stop()
	return failures
}

// each runs do for 0 … n-1, a few at once.
func each(n, workers int, do func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range workers {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// watch opens a person's stream and tells each time that new mail is told of.
func watch(ctx context.Context, v *visitor.Visitor, address string, i int, arrived chan<- int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	for _, c := range v.Cookies(address) {
		r.AddCookie(c)
	}
	answer, err := (&http.Client{}).Do(r) // a visitor gives up after a minute
	if err != nil {
		return err
	}
	if answer.StatusCode != 200 {
		return fmt.Errorf("stream: %s", answer.Status)
	}
	go func() {
		defer answer.Body.Close()
		lines := bufio.NewScanner(answer.Body)
		for lines.Scan() {
			if strings.Contains(lines.Text(), `"new":[`) {
				arrived <- i
			}
		}
	}()
	return nil
}

// resident is the memory of a process in bytes (VmRSS of proc(5)).
func resident(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64) // the kernel writes numbers
	return n * 1024
}
