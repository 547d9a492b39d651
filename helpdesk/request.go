package helpdesk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// requestLife is how long a request waits for its second person.
const requestLife = 24 * time.Hour

// Request is an order that waits for a second person, or waited.
type Request struct {
	ID          string
	Order       Order
	PersonName  string
	Verified    string
	Asker       string // ID of the person, or of the application, that asked
	AskerName   string
	Application string
	Created     time.Time
	Ends        time.Time
	State       string // "open", "done", "refused" or "ended"
	Decider     string
	DeciderName string
	Decided     time.Time
	Answer      string // why it was refused
}

// what is kept of an order beside its columns.
type what struct {
	Factor  string        `json:"factor,omitempty"`
	Life    time.Duration `json:"life,omitempty"`
	SignsIn bool          `json:"signs_in,omitempty"`
	Often   bool          `json:"often,omitempty"`
}

// ask keeps an order for a second person, once for each of the same.
func (d *Desk) ask(ctx context.Context, h Helper, o Order, p directory.Person, verified string) (id string, err error) {
	rest, err := json.Marshal(what{o.Factor, o.Life, o.SignsIn, o.Often})
	if err != nil {
		return "", err
	}
	err = d.db.InTx(ctx, func(ctx context.Context) error {
		var same string
		err := d.db.QueryRow(ctx, "SELECT id FROM helpdesk_request WHERE person = $1 AND action = $2 AND what = $3 AND state = 'open' AND ends > $4", p.ID, string(o.Action), string(rest), db.At(d.now())).Scan(&same)
		if err == nil {
			return ErrAsked
		}
		if !errors.Is(err, db.ErrNotFound) {
			return err
		}
		id = secret.Random()[:22]
		_, err = d.db.Exec(ctx, `INSERT INTO helpdesk_request (id, action, person, person_name, what, reason, verified, asker, asker_name, application, created, ends, state, decider, decider_name, answer)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'open', '', '', '')`,
			id, string(o.Action), p.ID, nameOf(p), string(rest), o.Reason, verified, h.actor().ID, h.called(), h.Application, db.At(d.now()), db.At(d.now().Add(requestLife)))
		if err != nil {
			return err
		}
		return d.audit.Record(ctx, h.actor(), audit.Event{Action: "helpdesk.ask", Target: p.ID, Application: h.Application, Outcome: "ok",
			Detail: map[string]string{"action": string(o.Action), "request": id, "reason": o.Reason, "verified": verified}})
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// called is what pages call a helper.
func (h Helper) called() string {
	if h.Application != "" {
		return h.Application
	}
	return nameOf(h.Person)
}

func nameOf(p directory.Person) string {
	if name := strings.TrimSpace(p.DisplayName); name != "" {
		return name
	}
	return p.Login
}

const requestColumns = "id, action, person, person_name, what, reason, verified, asker, asker_name, application, created, ends, state, decider, decider_name, decided, answer"

func (d *Desk) scanRequest(scan func(...any) error) (q Request, err error) {
	var rest string
	var created, ends, decided db.Time
	if err = scan(&q.ID, &q.Order.Action, &q.Order.Person, &q.PersonName, &rest, &q.Order.Reason, &q.Verified, &q.Asker, &q.AskerName, &q.Application, &created, &ends, &q.State, &q.Decider, &q.DeciderName, &decided, &q.Answer); err != nil {
		return q, err
	}
	var w what
	if err = json.Unmarshal([]byte(rest), &w); err != nil {
		return q, err
	}
	q.Order.Factor, q.Order.Life, q.Order.SignsIn, q.Order.Often = w.Factor, w.Life, w.SignsIn, w.Often
	q.Created, q.Ends, q.Decided = created.Time, ends.Time, decided.Time
	if q.State == "open" && !d.now().Before(q.Ends) {
		q.State = "ended"
	}
	return q, nil
}

// Request returns one; db.ErrNotFound.
func (d *Desk) Request(ctx context.Context, id string) (Request, error) {
	return d.scanRequest(d.db.QueryRow(ctx, "SELECT "+requestColumns+" FROM helpdesk_request WHERE id = $1", id).Scan)
}

// requestsOf lists the newest requests about a person.
func (d *Desk) requestsOf(ctx context.Context, person string, n int) ([]Request, error) {
	return db.All(ctx, d.db, d.scanRequest, "SELECT "+requestColumns+" FROM helpdesk_request WHERE person = $1 ORDER BY created DESC, id LIMIT $2", person, n)
}

// openRequests lists what waits, the oldest first, and what a person asked lately.
func (d *Desk) openRequests(ctx context.Context, asker string) (open, mine []Request, err error) {
	if open, err = db.All(ctx, d.db, d.scanRequest, "SELECT "+requestColumns+" FROM helpdesk_request WHERE state = 'open' AND ends > $1 ORDER BY created, id LIMIT 500", db.At(d.now())); err != nil {
		return nil, nil, err
	}
	mine, err = db.All(ctx, d.db, d.scanRequest, "SELECT "+requestColumns+" FROM helpdesk_request WHERE asker = $1 AND application = '' ORDER BY created DESC, id LIMIT 20", asker)
	return open, mine, err
}

// asker is who asked, as they are now.
func (d *Desk) asker(ctx context.Context, q Request) (Helper, error) {
	if q.Application != "" {
		return Helper{Application: q.Application}, nil
	}
	p, err := d.directory.ByID(ctx, q.Asker)
	if errors.Is(err, directory.ErrUnknown) {
		return Helper{}, nil
	}
	// Their second factor was asked for when they asked.
	return Helper{Person: p, FactorAt: d.now()}, err
}

// Decide agrees to a request, which carries it out, or refuses it with a reason,
// once. The asker must still be allowed to ask, and the decider to agree:
// *Refusal. db.ErrNotFound for what waits no more.
func (d *Desk) Decide(ctx context.Context, h Helper, id string, yes bool, answer string) (done Done, q Request, err error) {
	if q, err = d.Request(ctx, id); err != nil {
		return done, q, err
	}
	if q.State != "open" {
		return done, q, db.ErrNotFound
	}
	p, err := d.directory.ByID(ctx, q.Order.Person)
	if errors.Is(err, directory.ErrUnknown) {
		p, err = directory.Person{}, nil
	}
	if err != nil {
		return done, q, fmt.Errorf("helpdesk: %w", err)
	}
	done.Person = p
	answer = strings.Join(strings.Fields(answer), " ")
	if err := d.mayDecide(ctx, h, q, p, yes); err != nil {
		d.refuse(ctx, h, Approve, q.Order.Person, Refused(err))
		return done, q, err
	}
	if n := len([]rune(answer)); !yes && n < reasonLeast || n > reasonMost {
		return done, q, ErrNoReason
	}
	state := map[bool]string{true: "done", false: "refused"}[yes]
	err = d.db.InTx(ctx, func(ctx context.Context) error {
		n, err := d.db.Exec(ctx, "UPDATE helpdesk_request SET state = $1, decider = $2, decider_name = $3, decided = $4, answer = $5 WHERE id = $6 AND state = 'open' AND ends > $4",
			state, h.Person.ID, h.called(), db.At(d.now()), answer, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return db.ErrNotFound
		}
		detail := map[string]string{"action": string(q.Order.Action), "request": id, "asker": q.AskerName}
		if !yes {
			detail["reason"] = answer
			return d.audit.Record(ctx, h.actor(), audit.Event{Action: "helpdesk.decline", Target: q.Order.Person, Outcome: "ok", Detail: detail})
		}
		asker, err := d.asker(ctx, q)
		if err != nil {
			return err
		}
		if err := d.audit.Record(ctx, h.actor(), audit.Event{Action: "helpdesk.approve", Target: q.Order.Person, Outcome: "ok", Detail: detail}); err != nil {
			return err
		}
		return d.carryOut(ctx, h.actor(), asker, q.Order, &done, map[string]string{"verified": q.Verified, "request": id, "asker": q.AskerName})
	})
	if errors.Is(err, ErrNothing) {
		d.failed(ctx, h, q.Order, err)
	}
	return done, q, err
}

// mayDecide asks both: the decider, and, for a yes, whether the asker still may.
func (d *Desk) mayDecide(ctx context.Context, h Helper, q Request, p directory.Person, yes bool) error {
	if err := d.rules.MayApprove(h, q.Asker, q.Order.Action, p, d.now()); err != nil {
		return err
	}
	if !yes {
		return nil
	}
	asker, err := d.asker(ctx, q)
	if err != nil {
		return err
	}
	if same(asker.Person, h.Person) {
		return &Refusal{Reason: Self}
	}
	return d.rules.MayAsk(asker, q.Order.Action, p, d.now())
}
