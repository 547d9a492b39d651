package oidc

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"beffroi/internal/db/dbtest"
)

// The operations of the speed table, without network: what the provider itself
// costs. `go test -bench . -run - ./oidc -cpuprofile cpu.out` shows where.

func benchmark(b *testing.B, fn func(b *testing.B, w *world)) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			w := newWorld(b, dbtest.Open(b, kind))
			b.ReportAllocs()
			before := processorTime(b)
			fn(b, w)
			b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// processorTime is what this process has used: on a busy machine the clock
// tells more of the neighbours than of the work. PostgreSQL's share is not in it.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// call runs a request through the routes without a connection.
func (w *world) call(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.http.Config.Handler.ServeHTTP(rec, r)
	return rec
}

func (w *world) form(path, client string, form url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, w.http.URL+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client, secret1)
	return r
}

func (w *world) ok(b *testing.B, rec *httptest.ResponseRecorder) {
	if rec.Code != 200 && rec.Code != 303 {
		b.Fatalf("%d %s", rec.Code, rec.Body)
	}
}

func BenchmarkAuthorize(b *testing.B) {
	benchmark(b, func(b *testing.B, w *world) {
		query := request("tool").Encode()
		for b.Loop() {
			w.ok(b, w.call(httptest.NewRequest(http.MethodGet, w.http.URL+"/oauth2/authorize?"+query, nil)))
		}
	})
}

func BenchmarkCode(b *testing.B) {
	for _, client := range []string{"tool", "old"} {
		b.Run(map[string]string{"tool": RS256, "old": ES256}[client], func(b *testing.B) {
			benchmark(b, func(b *testing.B, w *world) {
				query := request(client).Encode()
				for b.Loop() {
					b.StopTimer()
					rec := w.call(httptest.NewRequest(http.MethodGet, w.http.URL+"/oauth2/authorize?"+query, nil))
					u, _ := url.Parse(rec.Header().Get("Location"))
					b.StartTimer()
					w.ok(b, w.call(w.form("/oauth2/token", client, url.Values{"grant_type": {GrantCode}, "code": {u.Query().Get("code")}, "redirect_uri": {back}, "code_verifier": {verifier}})))
				}
			})
		})
	}
}

func BenchmarkRefresh(b *testing.B) {
	for _, client := range []string{"tool", "old"} {
		b.Run(map[string]string{"tool": RS256, "old": ES256}[client], func(b *testing.B) {
			benchmark(b, func(b *testing.B, w *world) {
				token := w.tokens(client, "scope", "openid profile email groups offline_access").text("refresh_token")
				for b.Loop() {
					rec := w.call(w.form("/oauth2/token", client, url.Values{"grant_type": {GrantRefresh}, "refresh_token": {token}}))
					w.ok(b, rec)
					_, rest, _ := strings.Cut(rec.Body.String(), `"refresh_token":"`)
					token, _, _ = strings.Cut(rest, `"`)
				}
			})
		})
	}
}

func BenchmarkClientCredentials(b *testing.B) {
	benchmark(b, func(b *testing.B, w *world) {
		for b.Loop() {
			w.ok(b, w.call(w.form("/oauth2/token", "robot", url.Values{"grant_type": {GrantClientCredentials}})))
		}
	})
}

func BenchmarkIntrospection(b *testing.B) {
	benchmark(b, func(b *testing.B, w *world) {
		token := w.tokens("tool").text("access_token")
		for b.Loop() {
			w.ok(b, w.call(w.form("/oauth2/introspect", "tool", url.Values{"token": {token}})))
		}
	})
}

func BenchmarkIntrospectionOfAJWT(b *testing.B) {
	benchmark(b, func(b *testing.B, w *world) {
		w.registerFormats()
		token := w.tokens("jwt").text("access_token")
		for b.Loop() {
			w.ok(b, w.call(w.form("/oauth2/introspect", "jwt", url.Values{"token": {token}})))
		}
	})
}

func BenchmarkUserinfo(b *testing.B) {
	benchmark(b, func(b *testing.B, w *world) {
		token := w.tokens("tool").text("access_token")
		for b.Loop() {
			r := httptest.NewRequest(http.MethodGet, w.http.URL+"/userinfo", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			w.ok(b, w.call(r))
		}
	})
}

func BenchmarkExchange(b *testing.B) {
	benchmark(b, func(b *testing.B, w *world) {
		token := w.tokens("tool", "scope", "openid mail").text("access_token")
		for b.Loop() {
			w.ok(b, w.call(w.form("/oauth2/token", "tool", url.Values{"grant_type": {GrantExchange}, "subject_token": {token}, "subject_token_type": {typeAccessToken}, "audience": {"imap"}})))
		}
	})
}

func BenchmarkSign(b *testing.B) {
	w := onOne(b)
	claims := map[string]any{"sub": marie, "iat": time.Now().Unix()}
	for _, alg := range algorithms {
		b.Run(alg, func(b *testing.B) {
			for b.Loop() {
				if _, err := w.p.keys.sign(b.Context(), alg, typJWT, claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
