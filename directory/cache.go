package directory

import (
	"context"
	"errors"
	"sync"
	"time"
)

// cache remembers people by ID for a short while, so that a page that asks for a
// person ten times costs one search, and asks once for all who wait. That nobody
// has an ID is not remembered.
type cache struct {
	keep time.Duration // nothing is remembered when not positive
	now  func() time.Time

	mu     sync.Mutex
	people map[string]remembered
	calls  map[string]*call
}

// remembered is a person as of the moment when the directory was asked: an
// answer that took long is no younger than its question.
type remembered struct {
	person Person
	asked  time.Time
}

// call is one question on its way, and those who wait for it.
type call struct {
	done   chan struct{}
	person Person
	err    error
}

const (
	maxRemembered = 20000
	// maxAsking ends a question that nobody may be waiting for any more.
	maxAsking = 30 * time.Second
)

func newCache(keep time.Duration, now func() time.Time) *cache {
	return &cache{keep: keep, now: now, people: make(map[string]remembered), calls: make(map[string]*call)}
}

// put remembers a person, unless something asked later is already there.
func (c *cache) put(p Person, asked time.Time) {
	if c.keep <= 0 || p.ID == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.people[p.ID]; ok && old.asked.After(asked) {
		return
	}
	if len(c.people) >= maxRemembered {
		c.sweep()
	}
	c.people[p.ID] = remembered{p.clone(), asked}
}

// forget drops what is remembered of a person.
func (c *cache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.people, id)
}

// sweep drops what is too old, or everything when nothing is.
func (c *cache) sweep() {
	now := c.now()
	for id, r := range c.people {
		if !c.fresh(r, now) {
			delete(c.people, id)
		}
	}
	if len(c.people) >= maxRemembered {
		clear(c.people)
	}
}

func (c *cache) fresh(r remembered, now time.Time) bool {
	age := now.Sub(r.asked)
	return age >= 0 && age < c.keep
}

// get returns the person with the ID, from memory or by asking.
func (c *cache) get(ctx context.Context, id string, ask func(context.Context) (Person, error)) (Person, error) {
	if err := ctx.Err(); err != nil {
		return Person{}, err
	}
	c.mu.Lock()
	if r, ok := c.people[id]; ok && c.fresh(r, c.now()) {
		c.mu.Unlock()
		return r.person.clone(), nil
	}
	waiting, ok := c.calls[id]
	if !ok {
		waiting = &call{done: make(chan struct{})}
		c.calls[id] = waiting
		go c.ask(ctx, id, waiting, ask)
	}
	c.mu.Unlock()
	select {
	case <-waiting.done:
		return waiting.person.clone(), waiting.err
	case <-ctx.Done():
		return Person{}, ctx.Err()
	}
}

// ask puts the question for all who wait. It outlives the visitor who came
// first: the others should not fail because that one left.
func (c *cache) ask(ctx context.Context, id string, waiting *call, ask func(context.Context) (Person, error)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxAsking)
	defer cancel()
	asked := c.now()
	waiting.person, waiting.err = ask(ctx)
	if waiting.err == nil {
		c.put(waiting.person, asked)
	} else {
		waiting.person = Person{}
	}
	c.mu.Lock()
	if errors.Is(waiting.err, ErrUnknown) {
		delete(c.people, id)
	}
	delete(c.calls, id)
	c.mu.Unlock()
	close(waiting.done)
}
