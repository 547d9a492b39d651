package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// floor measures what no implementation can go below on this machine: one bind, one signature, one small request, one commit.
func floor(t testing.TB, b *bed) int {
	fmt.Println("The floor in the same run:")
	var results []result
	bind := make([]func(dn, password string) error, b.workers)
	for i := range bind {
		bind[i] = b.slapd.Binder()
	}
	results = append(results, measure("one LDAP bind", 0, b.processes, b.workers, 2000, func(worker, n int) error {
		return bind[worker](fmt.Sprintf("uid=u%06d,%s", n%people, b.slapd.PeopleDN), b.persons[0].Password)
	}))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: b.workers}, Timeout: 10 * time.Second}
	results = append(results, measure("one small HTTP request (/healthz)", 0, b.processes, b.workers, 5000, func(int, int) error {
		answer, err := client.Get(b.beffroi.Admin + "/healthz")
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		return err
	}))
	if b.postgres != nil {
		results = append(results, commits(t, b))
	}
	show(results, b.processes)
	sum := sha256.Sum256([]byte("a signed token"))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%-44s %7s %8.2f\n", "one RS256 signature (2048 bits)", "", alone(500, func() error {
		_, err := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, sum[:])
		return err
	}))
	fmt.Printf("%-44s %7s %8.2f\n", "one ES256 signature", "", alone(5000, func() error {
		_, err := ecdsa.SignASN1(rand.Reader, ecKey, sum[:])
		return err
	}))
	failures := 0
	for _, r := range results {
		failures += r.failures
	}
	return failures
}

// commits measures one row written and committed, by as many connections as workers.
func commits(t testing.TB, b *bed) result {
	pool, err := sql.Open("pgx", b.postgres.Database())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	pool.SetMaxOpenConns(min(b.workers, 50))
	pool.SetMaxIdleConns(min(b.workers, 50))
	if _, err := pool.Exec("CREATE TABLE floor (id TEXT PRIMARY KEY, content TEXT NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	return measure("one commit", 0, b.processes, b.workers, 3000, func(worker, n int) error {
		_, err := pool.Exec("INSERT INTO floor (id, content) VALUES ($1, $2)", fmt.Sprintf("%08d", n), "one row")
		return err
	})
}

// alone gives the CPU milliseconds of one call in this process.
func alone(count int, do func() error) float64 {
	before := ownCPU()
	for range count {
		if err := do(); err != nil {
			return -1
		}
	}
	return float64((ownCPU() - before).Microseconds()) / 1000 / float64(count)
}
