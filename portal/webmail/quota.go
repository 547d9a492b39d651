package webmail

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/web"
	"beffroi/templates"
)

// How full the mailbox is (RFC 9208). It is asked for rarely, by a fragment of
// its own that no list waits for.

const quotaFor = 5 * time.Minute

// quota is what is used of a resource, in bytes; most is 0 where there is no limit.
type quota struct{ used, most int64 }

// quotas remembers them for a while.
type quotas struct {
	mu     sync.Mutex
	people map[string]quotaKept
}

type quotaKept struct {
	quota
	at time.Time
}

func (q *quotas) get(sub string, now time.Time) (quota, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k, ok := q.people[sub]
	return k.quota, ok && now.Sub(k.at) < quotaFor
}

func (q *quotas) set(sub string, one quota, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.people == nil || len(q.people) > 20_000 {
		q.people = map[string]quotaKept{}
	}
	q.people[sub] = quotaKept{one, now}
}

// quotaOf asks the server; of several limits the nearest to its end counts.
func (s *service) quotaOf(ctx context.Context, who owner) (found quota, err error) {
	if known, ok := s.quotas.get(who.sub, s.now()); ok {
		return known, nil
	}
	err = s.pools.Do(ctx, who, "", reads, func(c *conn) error {
		found = quota{}
		if !c.Caps().Has(imap.CapQuota) {
			return nil
		}
		roots, err := c.GetQuotaRoot("INBOX").Wait()
		if err != nil {
			return err
		}
		for _, root := range roots {
			storage, ok := root.Resources[imap.QuotaResourceStorage]
			if one := (quota{storage.Usage << 10, storage.Limit << 10}); ok && one.most > 0 && (found.most == 0 || one.share() > found.share()) {
				found = one
			}
		}
		return nil
	})
	if err == nil {
		s.quotas.set(who.sub, found, s.now())
	}
	return found, err
}

// share is how full it is, in percent.
func (q quota) share() int64 {
	if q.most <= 0 {
		return 0
	}
	return min(q.used*100/q.most, 999)
}

// showQuota answers GET /mail/quota: a part of the list of folders, empty where
// the server has no quota.
func (s *service) showQuota(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	view := &templates.WebmailQuota{}
	err := s.with(ctx, func(who owner) error {
		one, err := s.quotaOf(ctx, who)
		if err != nil || one.most == 0 {
			return err
		}
		l := web.Lang(ctx)
		view.Share, view.Used, view.Most = int(one.share()), fileSize(l, one.used), fileSize(l, one.most)
		return nil
	})
	if err != nil {
		return err
	}
	return web.Render(w, r, http.StatusOK, view)
}
