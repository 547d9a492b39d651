package oidc

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestATokenEndpointThatIsHammeredWithWrongSecretsStaysAnsweringOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.keyed()
		form := url.Values{"grant_type": {GrantClientCredentials}}
		foreign := signForeign(t, RS256, w.claims(map[string]any{"aud": "https://other.example.test"}))
		send := func(ctx context.Context, client, secret string, form url.Values) (int, error) {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.http.URL+"/oauth2/token", strings.NewReader(form.Encode()))
			if err != nil {
				return 0, err
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if client != "" {
				r.SetBasicAuth(client, secret)
			}
			res, err := browser.Do(r)
			if err != nil {
				return 0, err
			}
			defer res.Body.Close()
			_, err = io.Copy(io.Discard, res.Body)
			return res.StatusCode, err
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var wrong, other atomic.Int64
		var wg sync.WaitGroup
		for worker := range 64 {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					var status int
					var err error
					switch (worker + n) % 4 {
					case 0:
						status, err = send(ctx, "robot", fmt.Sprint("guess-", worker, "-", n), form) // the very client that others are waiting for
					case 1:
						status, err = send(ctx, fmt.Sprint("nobody-", n), "guess", form)
					case 2:
						status, err = send(ctx, "", "", asserted(foreign))
					default:
						status, err = send(ctx, "", "", url.Values{"grant_type": {GrantClientCredentials}, "client_id": {"tool"}, "client_secret": {"guess"}})
					}
					switch {
					case ctx.Err() != nil:
					case err == nil && status == 401:
						wrong.Add(1)
					default:
						other.Add(1)
						t.Errorf("%d %v", status, err)
						return
					}
				}
			})
		}
		// Before the 64 are at it, nothing is proven.
		for deadline := time.Now().Add(30 * time.Second); wrong.Load() < 200; {
			if time.Now().After(deadline) || other.Load() > 0 {
				t.Fatal("the crowd does not get going")
			}
			time.Sleep(time.Millisecond)
		}
		for range 40 {
			start := time.Now()
			status, err := send(t.Context(), "robot", secret1, form)
			if err != nil || status != 200 {
				t.Fatalf("an honest client is answered %d %v", status, err)
			}
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("an honest client waited %s", took)
			}
		}
		stop()
		wg.Wait()
		if n := w.trail("oidc.client", ""); n == 0 || n > 120 {
			t.Errorf("%d guesses stand in the trail as %d rows", wrong.Load(), n)
		}
		t.Logf("%d wrong secrets meanwhile", wrong.Load())
	})
}
