package directory

import (
	"sync"
	"time"
)

// justNow is how long an answer of ByLogin serves the Authenticate that
// follows it: who signs in is looked up first to count their wrong guesses, and
// the directory need not be asked the same thing twice within that instant.
const justNow = time.Second

// maxMoments bounds what is kept; beyond it the directory is asked again.
const maxMoments = 1000

// moments keeps whom ByLogin found, each for one Authenticate.
type moments struct {
	mu   sync.Mutex
	kept map[string]moment
}

type moment struct {
	found *found // with its groups
	asked time.Time
}

// put keeps found as the answer for what was typed.
func (m *moments) put(typed string, f *found, asked time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil || len(m.kept) >= maxMoments {
		m.kept = make(map[string]moment)
	}
	m.kept[typed] = moment{f, asked}
}

// take returns the answer once, if it is not older than justNow; else nil.
func (m *moments) take(typed string, now time.Time) (*found, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept, ok := m.kept[typed]
	delete(m.kept, typed)
	if age := now.Sub(kept.asked); !ok || age < 0 || age > justNow {
		return nil, time.Time{}
	}
	return kept.found, kept.asked
}
