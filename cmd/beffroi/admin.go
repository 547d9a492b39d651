package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"beffroi/oidc"
)

// admin answers /healthz (the process lives), /readyz (database and directory
// answer) and /metrics, on an address of its own that visitors never reach.
func (h *house) admin() *routes {
	set := metrics.NewSet()
	for _, s := range h.sites {
		label := fmt.Sprintf(`{site=%q}`, s.Kind())
		set.NewGauge("beffroi_http_requests_total"+label, func() float64 { n, _ := s.Counts(); return float64(n) })
		set.NewGauge("beffroi_http_failures_total"+label, func() float64 { _, n := s.Counts(); return float64(n) })
	}
	set.NewGauge("beffroi_ready", func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		for _, err := range h.ready(ctx) {
			if err != nil {
				return 0
			}
		}
		return 1
	})
	if h.provider != nil {
		h.noticeMetrics(set)
	}
	if h.webmail != nil {
		set.NewGauge("beffroi_mail_repeated_total", func() float64 { return float64(h.webmail.Repeats()) })
		set.NewGauge("beffroi_mail_watched", func() float64 { people, _ := h.webmail.Watched(); return float64(people) })
		set.NewGauge("beffroi_mail_streams", func() float64 { _, streams := h.webmail.Watched(); return float64(streams) })
	}
	mux := newRoutes()
	mux.Handle("GET /healthz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok")
	}))
	mux.Handle("GET /readyz", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
		defer cancel()
		answer := map[string]string{}
		status := http.StatusOK
		for name, err := range h.ready(ctx) {
			answer[name] = "ok"
			if err != nil {
				answer[name], status = err.Error(), http.StatusServiceUnavailable
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	}))
	mux.Handle("GET /metrics", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		set.WritePrometheus(w)
		metrics.WriteProcessMetrics(w)
	}))
	return mux
}

// noticeMetrics tell how the deliveries of sign-outs stand; NaN when the
// database does not answer.
func (h *house) noticeMetrics(set *metrics.Set) {
	gauge := func(name string, of func(oidc.NoticeCount) float64) {
		set.NewGauge(name, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			c, err := h.provider.CountNotices(ctx)
			if err != nil {
				return math.NaN()
			}
			return of(c)
		})
	}
	gauge("beffroi_logout_pending", func(c oidc.NoticeCount) float64 { return float64(c.Pending) })
	gauge("beffroi_logout_failed", func(c oidc.NoticeCount) float64 { return float64(c.Failed) })
	gauge("beffroi_logout_oldest_seconds", func(c oidc.NoticeCount) float64 { return c.Oldest.Seconds() })
}

// ready asks, at the same time, what this process cannot work without.
func (h *house) ready(ctx context.Context) map[string]error {
	asks := map[string]func(context.Context) error{}
	if h.db != nil {
		asks["database"] = h.db.Ping
	}
	if h.portalDB != nil && h.portalDB != h.db {
		asks["portal_database"] = h.portalDB.Ping
	}
	if h.directory != nil {
		asks["directory"] = h.directory.Ping
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers := map[string]error{}
	for name, ask := range asks {
		wg.Go(func() {
			err := ask(ctx)
			mu.Lock()
			defer mu.Unlock()
			answers[name] = err
		})
	}
	wg.Wait()
	return answers
}
