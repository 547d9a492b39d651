package webmail

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/web"
	"beffroi/templates"
)

// badgeFor is how long the launcher's count is remembered.
const badgeFor = 30 * time.Second

// badges remembers how many messages of each person are unread.
type badges struct {
	now func() time.Time

	mu     sync.Mutex
	counts map[string]badgeCount
}

type badgeCount struct {
	unread uint32
	at     time.Time
}

func (b *badges) get(sub string) (uint32, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.counts[sub]
	return c.unread, ok && b.now().Sub(c.at) < badgeFor
}

func (b *badges) set(sub string, unread uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.counts == nil {
		b.counts = map[string]badgeCount{}
	}
	if len(b.counts) > 5000 {
		for other, c := range b.counts {
			if b.now().Sub(c.at) > badgeFor {
				delete(b.counts, other)
			}
		}
	}
	b.counts[sub] = badgeCount{unread, b.now()}
}

// forget makes the next look count again.
func (b *badges) forget(sub string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.counts, sub)
}

// badge is the fragment for the launcher: a link that says how many messages
// are unread, or nothing.
func (s *service) badge(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), 4*time.Second)
	defer cancel()
	sub := s.person(ctx).Sub
	unread, known := s.badges.get(sub)
	if !known {
		err := s.with(ctx, func(who owner) error {
			return s.pools.Do(ctx, who, "", reads, func(c *conn) error {
				data, err := c.Status("INBOX", &imap.StatusOptions{NumUnseen: true}).Wait()
				if err == nil {
					unread = value(data.NumUnseen)
				}
				return err
			})
		})
		if err != nil {
			return err
		}
		s.badges.set(sub, unread)
	}
	if unread == 0 {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	w.Header().Set("X-Unread", strconv.Itoa(int(unread)))
	return web.Render(w, r, http.StatusOK, &templates.WebmailBadge{Unread: int(unread)})
}
