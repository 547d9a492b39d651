package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"beffroi/internal/audit"
)

// heldKeys is an application that keeps the published keys for as long as
// Cache-Control allows and does not ask again when it meets an unknown kid.
type heldKeys struct {
	w    *world
	mu   sync.Mutex
	set  jose.JSONWebKeySet
	read time.Time
}

func (h *heldKeys) VerifySignature(_ context.Context, jwt string) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.read.IsZero() || h.w.clock.now().Sub(h.read) >= jwksAge {
		res, err := http.Get(h.w.http.URL + "/jwks")
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		h.set = jose.JSONWebKeySet{}
		if err := json.NewDecoder(res.Body).Decode(&h.set); err != nil {
			return nil, err
		}
		h.read = h.w.clock.now()
	}
	token, err := jose.ParseSignedCompact(jwt, []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA})
	if err != nil {
		return nil, err
	}
	return token.Verify(h.set)
}

// TestKeysRotateWhileEightWorkersSignInAndVerify is show 6 of the issue: two
// workers for each algorithm sign in and verify without pause, one with
// go-oidc's remote keys, one with heldKeys, while two replicas rotate by the
// schedule. Then an operator rotates at once, which go-oidc's follow.
func TestKeysRotateWhileEightWorkersSignInAndVerify(t *testing.T) {
	onBothWith(t, func(c *Config) {
		c.CodeLife = 10 * time.Minute // the clock runs fast here
		c.AccessLife, c.IDTokenLife = time.Hour, time.Hour
		c.Keys = KeyConfig{PublishAhead: keysOverlap, RotateEvery: 2 * keysOverlap, Keep: time.Hour + keysOverlap}
	}, func(t *testing.T, w *world) {
		for _, alg := range algorithms {
			w.register(tool(func(c *Client) { c.ID, c.IDTokenAlg, c.Home = "tool-"+alg, alg, "" }))
		}
		work := &signInWork{w: w, stop: make(chan struct{}), kids: map[string]map[string]bool{}}
		remote := gooidc.NewRemoteKeySet(context.Background(), w.http.URL+"/jwks")
		held := &heldKeys{w: w}
		for _, alg := range algorithms {
			work.start(t, alg, remote)
			work.start(t, alg, held)
		}
		replicas := []*Keys{w.p.keys, w.replica()}
		for range 3 * 2 * int(keysOverlap/(30*time.Second)) { // three periods
			w.clock.pass(30 * time.Second)
			var both sync.WaitGroup
			for _, k := range replicas {
				both.Go(func() {
					if _, err := k.rotateDue(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			both.Wait()
			work.round()
		}
		work.end()
		scheduled := work.enough(t, 3)
		if t.Failed() {
			return
		}

		work.stop = make(chan struct{})
		for _, alg := range algorithms {
			work.start(t, alg, remote)
			work.start(t, alg, remote)
		}
		for _, alg := range algorithms {
			if _, err := replicas[1].Rotate(t.Context(), audit.Operator("op"), alg, true); err != nil {
				t.Error(err)
			}
			for range 7 {
				w.clock.pass(time.Second)
				work.round()
			}
		}
		work.round()
		work.end()
		work.enough(t, scheduled+1)
		t.Logf("%d sign-ins, each ID token verified", work.all)
	})
}

// signInWork is what the workers did.
type signInWork struct {
	w     *world
	stop  chan struct{}
	done  sync.WaitGroup
	count []*atomic.Int64 // sign-ins of each worker
	all   int64           // of those who have ended

	mu   sync.Mutex
	kids map[string]map[string]bool // seen, by algorithm
}

// round waits until every worker has signed in once more, so that no code gets
// old while the clock runs.
func (s *signInWork) round() {
	before := make([]int64, len(s.count))
	for i, one := range s.count {
		before[i] = one.Load()
	}
	for i, one := range s.count {
		for one.Load() == before[i] && !s.w.t.Failed() {
			time.Sleep(time.Millisecond)
		}
	}
}

// end stops the workers.
func (s *signInWork) end() {
	close(s.stop)
	s.done.Wait()
	for _, one := range s.count {
		s.all += one.Load()
	}
	s.count = nil
}

// enough holds that every algorithm was signed with by at least n keys, and
// returns the least.
func (s *signInWork) enough(t *testing.T, n int) int {
	least := len(s.kids[RS256])
	for _, alg := range algorithms {
		least = min(least, len(s.kids[alg]))
	}
	if least < n {
		t.Errorf("only %d keys signed, want %d: %v", least, n, s.kids)
	}
	return least
}

func (s *signInWork) start(t *testing.T, alg string, keys gooidc.KeySet) {
	client, stop, count := "tool-"+alg, s.stop, new(atomic.Int64)
	s.count = append(s.count, count)
	verifier := gooidc.NewVerifier(s.w.http.URL, keys, &gooidc.Config{ClientID: client, SupportedSigningAlgs: algorithms, Now: s.w.clock.now})
	s.done.Go(func() {
		for !t.Failed() {
			select {
			case <-stop:
				return
			default:
			}
			idToken, access, err := s.signIn(client)
			if err != nil {
				t.Errorf("%s: %v", alg, err)
				return
			}
			token, err := verifier.Verify(context.Background(), idToken)
			if err == nil {
				err = token.VerifyAccessToken(access)
			}
			if err != nil {
				t.Errorf("%s: a verification failed: %v", alg, err)
				return
			}
			s.mu.Lock()
			if s.kids[alg] == nil {
				s.kids[alg] = map[string]bool{}
			}
			s.kids[alg][headerOf(idToken)["kid"].(string)] = true
			s.mu.Unlock()
			count.Add(1)
		}
	})
}

// signIn is the code flow.
func (s *signInWork) signIn(client string) (idToken, access string, err error) {
	a := s.w.authorize(request(client))
	b := s.w.redeem(client, a.location().Get("code"))
	if b.status != 200 {
		return "", "", fmt.Errorf("sign in: %s %s", a.header.Get("Location"), b.body)
	}
	return b.text("id_token"), b.text("access_token"), nil
}
