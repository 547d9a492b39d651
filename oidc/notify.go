package oidc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"beffroi/internal/audit"
)

// errNothingToTell ends a notice whose receiver does not want it any more.
var errNothingToTell = errors.New("nothing to tell")

// refusedTries is how often a receiver may say that the notice itself is wrong
// before it is given up: it will hardly say otherwise tomorrow.
const refusedTries = 3

// noticeLook is how often the queue is looked at for what other replicas and
// commands have put there; what this process queues is delivered at once.
const noticeLook = 2 * time.Second

// Notify delivers notices until ctx ends: back-channel logout and what else
// must hear of a sign-out. Several replicas may run it.
func (p *Provider) Notify(ctx context.Context) {
	tick := time.NewTicker(noticeLook)
	defer tick.Stop()
	for {
		for {
			n, err := p.notifyDue(ctx)
			if err != nil && ctx.Err() == nil {
				p.log.ErrorContext(ctx, "notices of sign-outs", "error", err)
			}
			if n == 0 {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-p.woken:
		}
	}
}

// wake lets Notify look at the queue now.
func (p *Provider) wake() {
	select {
	case p.woken <- struct{}{}:
	default: // it will look anyway
	}
}

func (p *Provider) wakeAfterCommit(ctx context.Context) { p.store.db.AfterCommit(ctx, p.wake) }

// notifyDue delivers what is due, each receiver beside the others, and returns
// how many tries that was.
func (p *Provider) notifyDue(ctx context.Context) (int, error) {
	due, err := p.store.takeNotices(ctx)
	if err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	failed := make([]error, len(due))
	for i, n := range due {
		wg.Go(func() { failed[i] = p.notify(ctx, n) })
	}
	wg.Wait()
	return len(due), errors.Join(failed...)
}

// notify tries one notice and writes down what came of it. The error is of the
// writing down.
func (p *Provider) notify(ctx context.Context, n notice) error {
	err := p.deliver(ctx, n)
	if err != nil && ctx.Err() != nil {
		return nil // stopped half-way: the lease runs out and it is tried again
	}
	ctx = context.WithoutCancel(ctx) // what was heard is written down, also while this process ends
	var answered *answeredError
	wait := noticeWait(n.Attempts)
	switch {
	case err == nil, errors.Is(err, errNothingToTell):
		return p.store.settleNotice(ctx, n.ID, noticeDone, "")
	case errors.As(err, &answered) && answered.status == 400 && n.Attempts >= refusedTries:
		return p.giveUp(ctx, n, err)
	case p.now().Add(wait).Sub(n.Created.Time) > noticeLife:
		return p.giveUp(ctx, n, err)
	}
	p.log.WarnContext(ctx, "a sign-out could not be told", "kind", n.Kind, "application", n.Client, "attempts", n.Attempts, "again_in", wait.String(), "error", err)
	return p.store.delayNotice(ctx, n, p.now().Add(wait), printable(err.Error()))
}

func (p *Provider) giveUp(ctx context.Context, n notice, why error) error {
	p.log.ErrorContext(ctx, "a sign-out was not told; given up", "kind", n.Kind, "application", n.Client, "attempts", n.Attempts, "error", why)
	return p.store.db.InTx(ctx, func(ctx context.Context) error {
		if err := p.store.settleNotice(ctx, n.ID, noticeFailed, printable(why.Error())); err != nil {
			return err
		}
		return p.audit.Record(ctx, audit.System("logout"), audit.Event{Action: "logout.failed", Target: n.Person, Application: n.Client, Outcome: "error",
			Detail: map[string]string{"kind": n.Kind, "sid": n.SID, "error": why.Error()}})
	})
}

// deliver is one try.
func (p *Provider) deliver(ctx context.Context, n notice) error {
	switch n.Kind {
	case noticeApplication:
		return p.tellApplication(ctx, n)
	case noticeKick:
		return p.closeMail(ctx, n)
	}
	return fmt.Errorf("unknown kind of notice %q: was it written by a later release?", n.Kind)
}
