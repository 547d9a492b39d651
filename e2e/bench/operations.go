package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// people of the directory beside the sample ones.
const people = 2000

// bed is everything that runs for one table.
type bed struct {
	options
	beffroi   *rig.Beffroi
	slapd     *testpeer.SlapdServer
	postgres  *testpeer.PostgresServer
	processes []process

	one, two *visitor.Application // ask one factor, two factors
	signed   *visitor.Application // one factor, its access tokens are JWTs
	keyed    *visitor.Application // proves who it is by its key
	persons  []*visitor.Person

	mu   sync.Mutex
	next int
}

const scope = "openid profile groups"

func newBed(t testing.TB, o options) *bed {
	b := &bed{options: o, slapd: testpeer.StartSlapd(t, testpeer.SlapdOptions{People: testpeer.GeneratePeople(people)})}
	// slapd keeps memberOf; searching the groups that name a person would read a group of 2,000 for each sign-in
	parts := &rig.Parts{Slapd: b.slapd, Lookup: "  groups: memberof"}
	switch o.database {
	case "postgres":
		b.postgres = testpeer.StartPostgres(t, testpeer.PostgresOptions{Durable: true})
		parts.Database = b.postgres.Database()
	case "sqlite":
		parts.Database = "sqlite:" + filepath.Join(testpeer.Dir(t), "beffroi.db")
	default:
		t.Fatalf("-database is postgres or sqlite, not %q", o.database)
	}
	dir := testpeer.Dir(t)
	const redirect = "http://127.0.0.1:49152/callback"
	issuer := parts.Ports(t)
	for i, app := range []**visitor.Application{&b.one, &b.two, &b.signed} {
		format := "opaque"
		if app == &b.signed {
			format = "at+jwt"
		}
		id, secret := fmt.Sprintf("bench-%d", i+1), fmt.Sprintf("bench-secret-for-%d", i+1)
		path := filepath.Join(dir, id+".secret")
		rig.Write(t, path, secret)
		parts.Apps += fmt.Sprintf("  - id: %s\n    name: {fr: Mesure}\n    secret_file: %s\n    redirect_uris: [%q]\n    scopes: [openid, profile, email, groups, offline_access]\n"+
			"    grants: [authorization_code, refresh_token, client_credentials]\n    assurance: %d\n    id_token_alg: %s\n    token_format: %s\n    token_alg: %[5]s\n", id, path, redirect, 1+i%2, o.alg, format)
		*app = &visitor.Application{Issuer: issuer, ID: id, Secret: secret, RedirectURI: redirect}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b.keyed = &visitor.Application{Issuer: issuer, ID: "bench-key", Key: key}
	set, err := b.keyed.PublicKeys()
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(dir, "keys.json")
	rig.Write(t, keys, string(set))
	parts.Apps += fmt.Sprintf("  - id: bench-key\n    name: {fr: Mesure}\n    auth_method: private_key_jwt\n    jwks_file: %s\n    grants: [client_credentials]\n    scopes: [bench]\n", keys)
	b.beffroi = rig.Serve(t, parts)
	b.processes = []process{{"beffroi", b.beffroi.PID}, {"slapd", b.slapd.PID}}
	if b.postgres != nil {
		b.processes = append(b.processes, process{"postgresql", b.postgres.PID})
	}
	for i := range people {
		b.persons = append(b.persons, &visitor.Person{Login: fmt.Sprintf("u%06d", i), Password: testpeer.Password})
	}
	return b
}

// person gives the next one, round and round.
func (b *bed) person() *visitor.Person {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	return b.persons[b.next%len(b.persons)]
}

// enter is a whole sign-in by a fresh browser; the ID token is verified and must hold the groups.
func (b *bed) enter(ctx context.Context, v *visitor.Visitor, a *visitor.Application, who *visitor.Person, scope string) (*visitor.Tokens, error) {
	tokens, claims, page, err := v.Enter(ctx, a, who, scope)
	switch {
	case err != nil:
		return nil, err
	case tokens == nil:
		return nil, fmt.Errorf("%s is not let in: %s", who.Login, page)
	case len(claims.Groups) == 0 || claims.Algorithm != b.alg:
		return nil, fmt.Errorf("ID token with groups %v, %s", claims.Groups, claims.Algorithm)
	}
	return tokens, nil
}

// operation is one line of the table: prepare is not measured and gives what is.
type operation struct {
	word, name string
	goal       float64
	share      float64 // of -n
	prepare    func(ctx context.Context, count int) (func(worker, n int) error, error)
}

func (b *bed) operations() []operation {
	refreshGoal, signature := 3.0, 1.6 // a JWT costs one signature more
	if b.alg == "ES256" {
		refreshGoal, signature = 1.8, 0.2
	}
	return []operation{
		{"signin", "sign-in: password, code + PKCE, token", 8.5, 1, b.signIn},
		{"totp", "the same with TOTP", 10, 0.5, b.signInTOTP},
		{"sso", "single sign-on with a session, token", 4.4, 1, b.singleSignOn},
		{"par", "pushed authorization request", 0.5, 4, b.push},
		{"refresh", "refresh", refreshGoal, 1, b.refresh(b.one)},
		{"refreshjwt", "refresh, the access token a JWT", refreshGoal + signature, 1, b.refresh(b.signed)},
		{"credentials", "client credentials", 0.6, 4, b.credentials},
		{"assertion", "the same by private_key_jwt", 0.9, 4, b.assertion},
		{"introspect", "introspection", 0.45, 4, b.introspect(b.one)},
		{"introspectjwt", "introspection of a JWT", 0.6, 4, b.introspect(b.signed)},
		{"userinfo", "userinfo", 0.5, 4, b.userinfo},
	}
}

func (b *bed) signIn(ctx context.Context, _ int) (func(int, int) error, error) {
	return func(int, int) error {
		_, err := b.enter(ctx, visitor.New(), b.one, b.person(), scope)
		return err
	}, nil
}

func (b *bed) signInTOTP(ctx context.Context, count int) (func(int, int) error, error) {
	enrolled := b.persons[:min(count, len(b.persons))]
	r := measure("", 0, nil, b.workers, len(enrolled), func(_, n int) error {
		_, err := b.enter(ctx, visitor.New(), b.two, enrolled[n], scope)
		return err
	})
	if r.failures > 0 {
		return nil, fmt.Errorf("enrol: %w", r.first)
	}
	return func(_, n int) error {
		_, err := b.enter(ctx, visitor.New(), b.two, enrolled[n%len(enrolled)], scope)
		return err
	}, nil
}

func (b *bed) singleSignOn(ctx context.Context, _ int) (func(int, int) error, error) {
	browsers := make([]*visitor.Visitor, b.workers)
	for i := range browsers {
		browsers[i] = visitor.New()
		if _, err := b.enter(ctx, browsers[i], b.one, b.person(), scope); err != nil {
			return nil, err
		}
	}
	nobody := &visitor.Person{Login: "nobody"} // whoever is asked for a password has no session
	return func(worker, _ int) error {
		_, err := b.enter(ctx, browsers[worker], b.one, nobody, scope)
		return err
	}, nil
}

// signedIn gives one set of tokens for each worker.
func (b *bed) signedIn(ctx context.Context, a *visitor.Application, scope string) ([]*visitor.Tokens, error) {
	all := make([]*visitor.Tokens, b.workers)
	r := measure("", 0, nil, min(b.workers, 8), b.workers, func(_, n int) (err error) {
		all[n], err = b.enter(ctx, visitor.New(), a, b.person(), scope)
		return err
	})
	return all, r.first
}

func (b *bed) refresh(a *visitor.Application) func(context.Context, int) (func(int, int) error, error) {
	return func(ctx context.Context, _ int) (func(int, int) error, error) {
		tokens, err := b.signedIn(ctx, a, scope+" offline_access")
		return func(worker, _ int) error {
			answer, err := a.Refresh(ctx, tokens[worker].RefreshToken)
			if err != nil {
				return err
			}
			if answer.Error != "" || answer.RefreshToken == "" {
				return fmt.Errorf("refresh: %d %s %s", answer.Status, answer.Error, answer.ErrorDescription)
			}
			if isJWT := strings.Count(answer.AccessToken, ".") == 2; isJWT != (a == b.signed) {
				return fmt.Errorf("the access token of %s: %.20s", a.ID, answer.AccessToken)
			}
			tokens[worker] = answer
			_, err = a.Verify(ctx, answer.IDToken, "")
			return err
		}, err
	}
}

func (b *bed) credentials(ctx context.Context, _ int) (func(int, int) error, error) {
	return func(int, int) error { return ownToken(ctx, b.one) }, nil
}

func (b *bed) assertion(ctx context.Context, _ int) (func(int, int) error, error) {
	return func(int, int) error { return ownToken(ctx, b.keyed) }, nil
}

// ownToken gets a token for the application itself.
func ownToken(ctx context.Context, a *visitor.Application) error {
	answer, err := a.Token(ctx, url.Values{"grant_type": {"client_credentials"}})
	if err == nil && answer.AccessToken == "" {
		err = fmt.Errorf("client credentials: %d %s %s", answer.Status, answer.Error, answer.ErrorDescription)
	}
	return err
}

func (b *bed) push(ctx context.Context, _ int) (func(int, int) error, error) {
	return func(int, int) error {
		_, err := b.one.Push(ctx, scope, nil)
		return err
	}, nil
}

func (b *bed) introspect(a *visitor.Application) func(context.Context, int) (func(int, int) error, error) {
	return func(ctx context.Context, _ int) (func(int, int) error, error) {
		tokens, err := b.signedIn(ctx, a, scope)
		return func(worker, _ int) error {
			status, fields, _, err := a.Introspect(ctx, tokens[worker].AccessToken)
			if err == nil && fields["active"] != true {
				err = fmt.Errorf("introspection: %d %v", status, fields)
			}
			return err
		}, err
	}
}

func (b *bed) userinfo(ctx context.Context, _ int) (func(int, int) error, error) {
	tokens, err := b.signedIn(ctx, b.one, scope)
	return func(worker, _ int) error {
		status, fields, err := b.one.UserInfo(ctx, tokens[worker].AccessToken)
		if err == nil && (status != 200 || fields["sub"] == nil || fields["groups"] == nil) {
			err = fmt.Errorf("userinfo: %d %v", status, fields)
		}
		return err
	}, err
}

// table runs every operation and prints the lines; it gives the number of failures.
func table(t testing.TB, o options) int {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	b := newBed(t, o)
	if !o.short {
		fmt.Printf("Beffroi on %s, %s, %d workers, %d people in slapd\n\n", o.database, o.alg, o.workers, people)
	}
	var results []result
	failures := 0
	for _, op := range b.operations() {
		if !o.wanted(op.word) {
			continue
		}
		count := int(float64(o.count) * op.share)
		if o.short {
			count = max(o.workers, count/4)
		}
		do, err := op.prepare(ctx, count)
		if err == nil && !o.short && op.word != "totp" { // a one-time code has no second try
			err = measure("", 0, nil, o.workers, 8*o.workers, do).first
		}
		if err != nil {
			fmt.Printf("%s: %v\n", op.name, err)
			failures++
			continue
		}
		r := measure(op.name, op.goal, b.processes, o.workers, count, do)
		if op.word == "signin" {
			r.name += fmt.Sprintf(" (then %d MB)", memory(b.beffroi.PID())>>20)
		}
		failures += r.failures
		results = append(results, r)
	}
	if o.short {
		shortly(o, results)
	} else {
		show(results, b.processes)
		fmt.Printf("\nMemory of beffroi at the end: %d MB\n\n", memory(b.beffroi.PID())>>20)
		failures += floor(t, b)
	}
	stop(b)
	return failures
}

// stop ends a bed before the next one starts.
func stop(b *bed) {
	b.beffroi.Stop()
	b.slapd.Kill()
	if b.postgres != nil {
		b.postgres.Stop()
	}
}

func shortly(o options, results []result) {
	var parts []string
	var first error
	for _, r := range results {
		word, _, _ := strings.Cut(r.name, ":")
		word, _, _ = strings.Cut(word, " (")
		parts = append(parts, fmt.Sprintf("%s %d/%d (p99 %.0f ms)", word, r.failures, r.count, ms(r.p99)))
		first = errors.Join(first, r.first)
	}
	fmt.Printf("%s, %d workers, failures: %s\n", o.database, o.workers, strings.Join(parts, ", "))
	if first != nil {
		fmt.Println(" ", strings.ReplaceAll(first.Error(), "\n", "\n  "))
	}
}
