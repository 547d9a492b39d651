package webmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/portal"
)

// New mail is told to the pages of a person by a stream of server-sent events
// (HTML Living Standard §9.2). However many browsers listen, one connection
// waits at the mail server (IDLE, RFC 2177), apart from those that read pages;
// the pages of one browser share one stream among them (webmail.js).

const (
	streamsOfOne = 8               // browsers of one person that listen at a time; the oldest makes room
	streamLife   = 9 * time.Minute // browsers come back by themselves
	watchLife    = 8 * time.Minute // of one connection, well below what servers and networks cut
	watchLook    = time.Minute     // what IDLE does not tell is looked for this often
	watchPause   = 100 * time.Millisecond
	watchMost    = 2000 // connections of everybody
	newsMost     = 5    // messages told of at once
)

// news is what a stream tells: how many messages are unread in the inbox, and
// which ones have just come.
type news struct {
	Unread uint32     `json:"unread"`
	New    []newsItem `json:"new,omitempty"`
}

type newsItem struct {
	From    string `json:"from"`
	Mail    string `json:"mail"`
	Subject string `json:"subject"`
	Href    string `json:"href"`
}

// live is who listens.
type live struct {
	mu     sync.Mutex
	people map[string]*listeners
}

// listeners are the streams of one person, and the latest news.
type listeners struct {
	streams []*stream
	last    *news
}

// stream is one browser that listens. ctx is of its session.
type stream struct {
	ctx  context.Context
	news chan news
	over chan struct{} // closed when it has to make room, or its session has ended
	once sync.Once
}

func (s *stream) end() { s.once.Do(func() { close(s.over) }) }

// join adds a stream; the first one of a person is told so, to begin watching.
func (l *live) join(sub string, one *stream) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.people == nil {
		l.people = map[string]*listeners{}
	}
	p := l.people[sub]
	if p == nil {
		p = &listeners{}
		l.people[sub] = p
		first = true
	}
	if len(p.streams) >= streamsOfOne {
		p.streams[0].end()
		p.streams = p.streams[1:]
	}
	p.streams = append(p.streams, one)
	if p.last != nil {
		one.news <- news{Unread: p.last.Unread}
	}
	return first
}

func (l *live) leave(sub string, one *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.people[sub]
	if p == nil {
		return
	}
	for i, s := range p.streams {
		if s == one {
			p.streams = append(p.streams[:i:i], p.streams[i+1:]...)
			break
		}
	}
}

// next is a stream whose session serves for watching; nil, and the person is
// forgotten, when nobody listens any more.
func (l *live) next(sub string) *stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.people[sub]
	if p == nil {
		return nil
	}
	if len(p.streams) == 0 {
		delete(l.people, sub)
		return nil
	}
	return p.streams[len(p.streams)-1]
}

// tell gives news to every stream of a person. One that does not read misses it:
// the count comes again.
func (l *live) tell(sub string, n news) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.people[sub]
	if p == nil {
		return
	}
	p.last = &n
	for _, s := range p.streams {
		select {
		case s.news <- n:
		default:
		}
	}
}

// watched is how many people are watched for, and by how many streams.
func (l *live) watched() (people, streams int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.people {
		streams += len(p.streams)
	}
	return len(l.people), streams
}

// events answers GET /mail/events: a stream that ends by itself after some
// minutes, and at once when the session does.
func (s *service) events(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	sub := s.person(ctx).Sub
	one := &stream{ctx: context.WithoutCancel(ctx), news: make(chan news, 4), over: make(chan struct{})}
	if s.live.join(sub, one) {
		s.work.Go(func() { s.watch(sub) })
	}
	defer s.live.leave(sub, one)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx passes it on at once
	control := http.NewResponseController(w)
	send := func(format string, args ...any) error {
		if err := control.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return control.Flush()
	}
	end := time.NewTimer(streamLife)
	defer end.Stop()
	beat := time.NewTicker(s.beat)
	defer beat.Stop()
	if err := send("retry: 4000\n\n"); err != nil {
		return nil // the browser has left
	}
	for {
		var err error
		select {
		case n := <-one.news:
			text, wrong := json.Marshal(n)
			if wrong != nil {
				return wrong
			}
			err = send("event: mail\ndata: %s\n\n", text)
		case <-beat.C:
			if wrong := s.host.Check(ctx); errors.Is(wrong, portal.ErrSignedOut) {
				_ = send("event: over\ndata: {}\n\n")
				return nil
			}
			err = send(": here\n\n")
		case <-one.over:
			_ = send("event: over\ndata: {}\n\n")
			return nil
		case <-end.C:
			return nil
		case <-ctx.Done():
			return nil
		case <-s.life.Done():
			return nil
		}
		if err != nil {
			return nil
		}
	}
}

// watch waits at the mail server for as long as somebody listens.
func (s *service) watch(sub string) {
	wait := time.Second
	for s.life.Err() == nil {
		one := s.live.next(sub)
		if one == nil {
			return
		}
		ctx, cancel := context.WithCancel(one.ctx)
		stop := context.AfterFunc(s.life, cancel)
		began := time.Now()
		err := s.with(ctx, func(who owner) error {
			return s.watchers.DoFor(ctx, watchLife+30*time.Second, who, "INBOX", writes, func(c *conn) error { return s.watchInbox(ctx, who, c) })
		})
		stop()
		cancel()
		switch {
		case err == nil || time.Since(began) > time.Minute:
			wait = time.Second
			continue
		case errors.Is(err, portal.ErrSignedOut), errors.Is(err, portal.ErrRefused):
			one.end()
			s.live.leave(sub, one)
			continue
		}
		s.log.DebugContext(ctx, "nobody waits for new mail", "error", err, "again", wait)
		select {
		case <-time.After(wait):
		case <-s.life.Done():
		}
		wait = min(2*wait, time.Minute)
	}
}

// watchInbox tells what happens in the inbox until nobody listens or the time of
// the connection is over.
func (s *service) watchInbox(ctx context.Context, who owner, c *conn) error {
	sub, beside := who.sub, otherBoxes{}
	if _, err := c.open("INBOX", false); err != nil {
		return err
	}
	last, err := c.lastUID()
	if err != nil {
		return err
	}
	idles := c.Caps().Has(imap.CapIdle) || c.Caps().Has(imap.CapIMAP4rev2)
	end := time.Now().Add(watchLife)
	for first := true; ; first = false {
		var n news
		if !first {
			fresh, err := s.readNews(c, &last)
			if err != nil {
				return err
			}
			n.New = fresh
		}
		more, err := s.lookBeside(ctx, who, c, beside)
		if err != nil {
			return err
		}
		n.New = append(n.New, more...)
		unseen, err := c.UIDSearch(&imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagSeen}}, nil).Wait()
		if err != nil {
			return err
		}
		n.Unread = uint32(len(unseen.AllUIDs()))
		s.badges.set(sub, n.Unread)
		s.live.tell(sub, n)
		if s.live.next(sub) == nil || time.Now().After(end) || ctx.Err() != nil {
			return nil
		}
		if !idles {
			select {
			case <-time.After(watchLook / 3):
			case <-ctx.Done():
				return nil
			}
			if err := c.Noop().Wait(); err != nil {
				return err
			}
			continue
		}
		idle, err := c.Idle()
		if err != nil {
			return err
		}
		select {
		case <-c.changed:
			time.Sleep(watchPause) // what comes in one go is told in one
		case <-time.After(s.lookAgain(len(beside))):
		case <-ctx.Done():
		case <-c.Closed():
		}
		if err := idle.Close(); err != nil {
			return err
		}
		if err := idle.Wait(); err != nil {
			return err
		}
	}
}

// lookAgain is how long IDLE waits: it tells of the inbox alone, so that other
// mailboxes that somebody watches are looked at more often.
func (s *service) lookAgain(others int) time.Duration {
	if others > 0 {
		return watchLook / 6
	}
	return watchLook
}

// lastUID is the highest UID of the mailbox that is open, 0 in an empty one.
func (c *conn) lastUID() (imap.UID, error) {
	m := c.Mailbox()
	if m == nil || m.NumMessages == 0 {
		return 0, nil
	}
	found, err := c.Fetch(imap.SeqSetNum(m.NumMessages), &imap.FetchOptions{UID: true}).Collect()
	if err != nil {
		return 0, err
	}
	last := imap.UID(0)
	for _, m := range found {
		last = max(last, m.UID)
	}
	return last, nil
}

// readNews reads who wrote what has come since.
func (s *service) readNews(c *conn, last *imap.UID) (items []newsItem, err error) {
	now, err := c.lastUID()
	if err != nil || now <= *last {
		return nil, err
	}
	var uids imap.UIDSet
	uids.AddRange(max(*last+1, now-newsMost+1), now)
	*last = now
	found, err := fetchSummaries(c, uids)
	if err != nil {
		return nil, err
	}
	for uid, one := range found {
		items = append(items, newsOf(ref{"INBOX", c.validity, uid}, one))
	}
	return items, nil
}

func newsOf(at ref, one summary) newsItem {
	item := newsItem{From: names(one.from), Subject: one.subject, Href: at.path()}
	if len(one.from) > 0 {
		item.Mail = strings.ToLower(one.from[0].mail)
	}
	if one.subject == unreadableSubject {
		item.Subject = ""
	}
	return item
}
