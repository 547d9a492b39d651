package oidc

import (
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
)

// replica is the keys of another process on the same database.
func (w *world) replica() *Keys {
	w.t.Helper()
	k, err := openKeys(w.t.Context(), &Keys{db: w.db, sealer: testSealer, audit: w.audit, cfg: w.p.cfg.Keys, log: slog.New(slog.DiscardHandler), now: w.clock.now})
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// published are the kids of an algorithm at /jwks, in order.
func (w *world) published(alg string) []string {
	w.t.Helper()
	var set struct {
		Keys []struct{ Kid, Alg, Use string }
	}
	a := w.get("/jwks")
	if err := json.Unmarshal([]byte(a.body), &set); err != nil || a.header.Get("Cache-Control") != "public, max-age=300" {
		w.t.Fatalf("jwks: %v %s", err, a.body)
	}
	var kids []string
	for _, k := range set.Keys {
		if k.Use != "sig" || k.Kid == "" {
			w.t.Fatalf("jwks: %s", a.body)
		}
		if k.Alg == alg {
			kids = append(kids, k.Kid)
		}
	}
	return kids
}

func (w *world) rotateDue() int64 {
	w.t.Helper()
	n, err := w.p.RotateKeys(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// retires puts a new key of alg in the place of the one that signs, at once.
func (w *world) retires(alg string) {
	w.t.Helper()
	op := audit.Operator("op")
	former := w.published(alg)[0]
	if _, err := w.p.keys.Rotate(w.t.Context(), op, alg, true); err != nil {
		w.t.Fatal(err)
	}
	w.clock.pass(keysKnown)
	if err := w.p.keys.Retire(w.t.Context(), op, former); err != nil {
		w.t.Fatal(err)
	}
	w.clock.pass(keysKnown)
}

func TestReplicasStartingTogetherAgreeOnTheirKeys(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		open := func(s *secret.Sealer) (*Keys, error) {
			return openKeys(t.Context(), &Keys{db: d, sealer: s, audit: audit.New(d, time.Now), cfg: KeyConfig{}.withDefaults(), log: slog.New(slog.DiscardHandler), now: time.Now})
		}
		var wg sync.WaitGroup
		sets := make([]*keySet, 3)
		for i := range sets {
			wg.Go(func() {
				k, err := open(testSealer)
				if err != nil {
					t.Error(err)
					return
				}
				sets[i] = k.latest.Load()
			})
		}
		wg.Wait()
		for _, s := range sets {
			if s == nil || string(s.jwks) != string(sets[0].jwks) || len(s.byID) != len(algorithms) {
				t.Fatal("the replicas differ")
			}
		}
		if again, err := open(testSealer); err != nil || string(again.latest.Load().jwks) != string(sets[0].jwks) {
			t.Errorf("a restart changes the keys: %v", err)
		}
		if _, err := open(secret.NewSealer([32]byte{8})); err == nil {
			t.Error("another sealing key opens them")
		}
	})
}

func TestAKeysStateFollowsFromTheClock(t *testing.T) {
	at := func(hours int) time.Time { return time.Unix(0, 0).Add(time.Duration(hours) * time.Hour) }
	k := func(signs, retired int) *key {
		one := &key{alg: RS256, signs: at(signs)}
		if retired >= 0 {
			one.retired = at(retired)
		}
		return one
	}
	const keep = 48 * time.Hour
	for name, c := range map[string]struct {
		now  int
		keys []*key
		want string
	}{
		"alone":                             {10, []*key{k(0, -1)}, "current"},
		"the next is published":             {10, []*key{k(0, -1), k(24, -1)}, "current next"},
		"a moment before":                   {23, []*key{k(0, -1), k(24, -1)}, "current next"},
		"it takes over":                     {24, []*key{k(0, -1), k(24, -1)}, "old current"},
		"the last hour":                     {71, []*key{k(0, -1), k(24, -1)}, "old current"},
		"kept long enough":                  {72, []*key{k(0, -1), k(24, -1)}, "retired current"},
		"taken back while old":              {30, []*key{k(0, 29), k(24, -1)}, "retired current"},
		"taken back before it signed":       {40, []*key{k(0, -1), k(24, 20)}, "current retired"},
		"taken back, and one after":         {40, []*key{k(0, -1), k(24, 20), k(30, -1)}, "old retired current"},
		"two took over":                     {73, []*key{k(0, -1), k(24, -1), k(60, -1)}, "retired old current"},
		"one signed and was taken back":     {73, []*key{k(0, -1), k(24, 61), k(60, -1)}, "retired retired current"},
		"made at once before the scheduled": {30, []*key{k(0, -1), k(24, -1), k(10, -1)}, "old old current"},
	} {
		var got []string
		for _, one := range c.keys {
			got = append(got, one.state(later(c.keys, one), at(c.now), keep))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}

func TestTheScheduleRotatesWithOverlap(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		before := w.tokens("tool", "scope", "openid offline_access")
		first := w.published(RS256)[0]
		w.clock.pass(89*24*time.Hour - time.Second)
		if n := w.rotateDue(); n != 0 {
			t.Fatalf("%d keys before their time", n)
		}
		w.clock.pass(time.Second)
		if n := w.rotateDue(); n != int64(len(algorithms)) {
			t.Fatalf("%d keys, want %d", n, len(algorithms))
		}
		if n := w.rotateDue(); n != 0 {
			t.Fatal("published twice")
		}
		w.clock.pass(5 * time.Second)
		kids := w.published(RS256)
		if len(kids) != 2 || kids[0] != first {
			t.Fatalf("the next key is not published beside the current: %v", kids)
		}
		next := kids[1]
		w.signIn(marie, "sid-1")
		signedBy := func() string { return headerOf(w.tokens("tool").text("id_token"))["kid"].(string) }
		if signedBy() != first {
			t.Error("the next key signs before its time")
		}
		w.clock.pass(24 * time.Hour)
		if signedBy() != next {
			t.Error("the next key does not sign")
		}
		if kids = w.published(RS256); len(kids) != 2 || kids[0] != next || kids[1] != first {
			t.Errorf("the old key is not published after the current: %v", kids)
		}
		w.clock.pass(48 * time.Hour)
		if kids = w.published(RS256); len(kids) != 1 || kids[0] != next {
			t.Errorf("the old key is published for ever: %v", kids)
		}
		if _, err := w.p.readHint(t.Context(), before.text("id_token")); err != nil {
			t.Errorf("a retired key no longer verifies a hint: %v", err)
		}
		if w.trail("key.create", "") != len(algorithms) {
			t.Error("the trail does not name the keys")
		}
	})
}

func TestALateScheduleStillPublishesAhead(t *testing.T) {
	w := onOne(t)
	w.clock.pass(365 * 24 * time.Hour) // nobody was there
	if n := w.rotateDue(); n != int64(len(algorithms)) {
		t.Fatalf("%d keys", n)
	}
	list, err := w.p.keys.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list {
		if k.State == KeyNext && k.Signs.Sub(w.clock.now()) < 24*time.Hour {
			t.Errorf("%s signs %s after its publication", k.Alg, k.Signs.Sub(w.clock.now()))
		}
	}
}

func TestReplicasRotatingTogetherAgree(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		replicas := []*Keys{w.p.keys, w.replica(), w.replica()}
		w.clock.pass(90 * 24 * time.Hour)
		var mu sync.Mutex
		made := int64(0)
		var wg sync.WaitGroup
		for _, k := range replicas {
			wg.Go(func() {
				n, err := k.rotateDue(t.Context())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				made += n
			})
		}
		wg.Wait()
		if made != int64(len(algorithms)) {
			t.Errorf("%d keys made, want %d", made, len(algorithms))
		}
		w.clock.pass(5 * time.Second)
		for _, k := range replicas {
			if s := k.snapshot(t.Context(), keysStale); len(s.byID) != 2*len(algorithms) || string(s.jwks) != string(w.p.keys.snapshot(t.Context(), keysStale).jwks) {
				t.Error("the replicas differ")
			}
		}
		// The same by hand: two operators at once.
		kids := make([]string, 2)
		for i := range kids {
			wg.Go(func() {
				k, err := replicas[i].Rotate(t.Context(), audit.Operator("op"), ES256, true)
				if err != nil {
					t.Error(err)
				}
				kids[i] = k.KID
			})
		}
		wg.Wait()
		if kids[0] == "" || kids[0] != kids[1] {
			t.Errorf("two operators have two keys: %v", kids)
		}
	})
}

func TestAReplicaNoticesARotationWithoutAQueryPerRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		other := w.replica()
		held := w.p.keys.latest.Load()
		for range 20 {
			w.must(w.get("/jwks"), 200)
		}
		if w.p.keys.latest.Load() != held {
			t.Error("the keys were read again within their time")
		}
		made, err := other.Rotate(t.Context(), audit.Operator("op"), ES256, true)
		if err != nil {
			t.Fatal(err)
		}
		w.clock.pass(time.Second)
		if !slices.Contains(w.published(ES256), made.KID) {
			t.Error("after a second the key is not published everywhere")
		}
		if headerOf(w.tokens("old").text("id_token"))["kid"] == made.KID {
			t.Error("it signs before every replica has published it")
		}
		w.clock.pass(keysKnown)
		if headerOf(w.tokens("old").text("id_token"))["kid"] != made.KID {
			t.Error("it does not sign")
		}
	})
}

func TestAnOperatorRotatesAndRetires(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx, op, keys := t.Context(), audit.Operator("op"), w.p.keys
		first := w.published(ES256)[0]
		idToken := w.tokens("old").text("id_token")
		if err := keys.Retire(ctx, op, first); !errors.Is(err, ErrOnlyKey) {
			t.Fatalf("the only key was retired: %v", err)
		}
		if err := keys.Retire(ctx, op, "nobody"); !errors.Is(err, ErrUnknownKey) {
			t.Fatal(err)
		}
		if _, err := keys.Rotate(ctx, op, "HS256", false); err == nil {
			t.Error("HS256 was rotated")
		}
		next, err := keys.Rotate(ctx, op, ES256, false)
		if err != nil || next.State != KeyNext || !next.Signs.Equal(w.clock.now().Add(24*time.Hour)) {
			t.Fatalf("%+v %v", next, err)
		}
		if again, err := keys.Rotate(ctx, op, ES256, false); err != nil || again.KID != next.KID {
			t.Fatalf("rotated twice: %+v %v", again, err)
		}
		if err := keys.Retire(ctx, op, first); !errors.Is(err, ErrOnlyKey) {
			t.Fatalf("retired before the next signs: %v", err)
		}
		hastened, err := keys.Rotate(ctx, op, ES256, true)
		if err != nil || hastened.KID != next.KID || !hastened.Signs.Equal(w.clock.now().Add(keysKnown)) {
			t.Fatalf("%+v %v", hastened, err)
		}
		w.clock.pass(keysKnown)
		if err := keys.Retire(ctx, op, next.KID); !errors.Is(err, ErrOnlyKey) {
			t.Fatalf("the key that signs was retired: %v", err)
		}
		if err := keys.Retire(ctx, op, first); err != nil {
			t.Fatal(err)
		}
		if err := keys.Retire(ctx, op, first); err == nil {
			t.Error("retired twice")
		}
		w.clock.pass(keysKnown)
		if kids := w.published(ES256); len(kids) != 1 || kids[0] != next.KID {
			t.Errorf("published: %v", kids)
		}
		if _, err := w.p.readHint(ctx, idToken); err != nil {
			t.Errorf("the hint of a retired key: %v", err)
		}
		// One that was never to sign can be taken back; the schedule makes another.
		spare, err := keys.Rotate(ctx, op, ES256, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.Retire(ctx, op, spare.KID); err != nil {
			t.Fatal(err)
		}
		if w.trail("key.create", "") != 2 || w.trail("key.hasten", "") != 1 || w.trail("key.retire", "") != 2 {
			t.Error("the trail is not complete")
		}
	})
}

func TestKnownKeysGoOnWhenTheDatabaseDoesNot(t *testing.T) {
	w := onOne(t)
	body := w.get("/jwks").body
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Hour)
	if a := w.get("/jwks"); a.status != 200 || a.body != body {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestTheKeyScheduleIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Config)
		wrong  string
	}{
		"the defaults":                  {func(*Config) {}, ""},
		"sooner than applications look": {func(c *Config) { c.Keys.PublishAhead = 5 * time.Minute }, "keys.publish_ahead"},
		"just late enough":              {func(c *Config) { c.Keys.PublishAhead = 6 * time.Minute }, ""},
		"more often than published":     {func(c *Config) { c.Keys.RotateEvery = 24 * time.Hour }, "keys.rotate_every"},
		"tokens outlive their key":      {func(c *Config) { c.AccessLife, c.Keys.Keep = 24*time.Hour, 24*time.Hour }, "keys.keep"},
		"negative":                      {func(c *Config) { c.Keys.Keep = -time.Hour }, "keys.keep"},
	} {
		cfg := Config{Issuer: "https://id.example.test"}
		c.change(&cfg)
		err := errors.Join(cfg.Validate()...)
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.HasPrefix(err.Error(), c.wrong+": ")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
