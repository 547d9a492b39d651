// Package audit is the trail: who did what to whom, from where, with which
// outcome. Record writes inside the caller's transaction, so that a change and
// its trace stand or fall together; Refuse notes what was turned away, and caps
// that of strangers and of applications, because a trail that a stranger, or a
// program that tries again and again, can fill is a full disk.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// Origin is where a request came from.
type Origin struct {
	IP        netip.Addr
	UserAgent string
	RequestID string
}

type originKey struct{}

// WithOrigin puts o in the context; internal/web does it for every request.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf returns the origin of the request; zero outside one.
func OriginOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// Actor is who acts. The zero Actor is refused by Record.
type Actor struct{ Kind, ID, Name string }

// Person is somebody signed in; id is the directory's stable one.
func Person(id, name string) Actor { return Actor{"person", id, name} }

// Application is a client of the provider acting for itself.
func Application(id string) Actor { return Actor{"application", id, id} }

// Operator is whoever runs a command on the server.
func Operator(name string) Actor { return Actor{"operator", name, name} }

// System is a worker of the program.
func System(name string) Actor { return Actor{"system", name, name} }

// Anonymous is a visitor who has proven nothing yet.
func Anonymous() Actor { return Actor{"anonymous", "", ""} }

// Event is what was done. Detail never holds a secret.
type Event struct {
	Action      string // "signin.password"
	Target      string // ID of the person touched
	Application string // ID of the application concerned
	Outcome     string // "ok", "refused" or "error"
	Detail      map[string]string
}

// The cap on refusals of strangers, per action and address (IPv6: per /64), and
// of applications, per action and application; and for all of either together,
// within one window.
const (
	capWindow  = 10 * time.Minute
	capAddress = 100
	capAction  = 2000
)

// Log writes and reads the trail.
type Log struct {
	db  *db.DB
	now func() time.Time

	mu     sync.Mutex
	window time.Time
	counts map[string]int
}

// New makes a Log.
func New(d *db.DB, now func() time.Time) *Log {
	return &Log{db: d, now: now, counts: map[string]int{}}
}

// Record writes one event, in the transaction of ctx when it carries one.
func (l *Log) Record(ctx context.Context, actor Actor, e Event) error {
	if actor.Kind == "" {
		return errors.New("audit: an event needs an actor")
	}
	if e.Outcome == "" {
		e.Outcome = "ok"
	}
	detail := ""
	if len(e.Detail) > 0 {
		for k, v := range e.Detail {
			e.Detail[k] = clean(v, 500)
		}
		b, err := json.Marshal(e.Detail)
		if err != nil {
			return fmt.Errorf("audit detail: %w", err)
		}
		detail = string(b)
	}
	o := OriginOf(ctx)
	address := ""
	if o.IP.IsValid() {
		address = o.IP.String()
	}
	_, err := l.db.Exec(ctx, `INSERT INTO audit (id, at, actor_kind, actor, actor_name, action, target, application, outcome, detail, address, agent, request)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		secret.Random()[:22], db.At(l.now()), actor.Kind, clean(actor.ID, 200), clean(actor.Name, 200), e.Action, clean(e.Target, 200), clean(e.Application, 200),
		e.Outcome, detail, address, clean(o.UserAgent, 300), o.RequestID)
	if err != nil {
		return fmt.Errorf("audit %s: %w", e.Action, err)
	}
	return nil
}

// Refuse notes a refusal on its own. It never fails the caller. What is beyond
// the cap is counted, and the count is written as one row when the window ends.
func (l *Log) Refuse(ctx context.Context, actor Actor, e Event) {
	if e.Outcome == "" {
		e.Outcome = "refused"
	}
	if actor.Kind == "" {
		actor = Anonymous()
	}
	if (actor.Kind == "anonymous" || actor.Kind == "application") && !l.admit(ctx, actor, e.Action) {
		return
	}
	// The visitor may have gone; the trace stays.
	_ = l.Record(context.WithoutCancel(ctx), actor, e)
}

// admit counts one refusal and tells whether it is written. Strangers and
// applications are counted apart: neither's noise may hide the other.
func (l *Log) admit(ctx context.Context, actor Actor, action string) bool {
	whose := actor.ID
	if actor.Kind == "anonymous" {
		whose = source(OriginOf(ctx).IP)
	}
	l.mu.Lock()
	now := l.now()
	var over map[string]int
	if now.Sub(l.window) > capWindow {
		over, l.counts, l.window = l.counts, map[string]int{}, now
	}
	total := "*" + actor.Kind + " " + action
	one := actor.Kind + " " + whose + " " + action
	l.counts[total]++
	admitted := l.counts[total] <= capAction
	if admitted {
		l.counts[one]++
		admitted = l.counts[one] <= capAddress
	}
	l.mu.Unlock()
	for key, n := range over {
		if of, isTotal := strings.CutPrefix(key, "*"); isTotal && n > capAddress {
			kind, action, _ := strings.Cut(of, " ")
			_ = l.Record(context.WithoutCancel(ctx), System("audit"), Event{Action: action + ".capped", Outcome: "refused", Detail: map[string]string{"count": fmt.Sprint(n), "of": kind}})
		}
	}
	return admitted
}

// source is where a stranger is counted.
func source(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	network, _ := ip.Prefix(64)
	return network.String()
}

// clean bounds what strangers wrote and keeps a line one line.
func clean(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "") + "…"
	}
	return s
}
