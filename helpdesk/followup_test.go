package helpdesk

import (
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db/dbtest"
	"beffroi/mfa"
)

var tags = regexp.MustCompile(`<[^>]*>`)

// read is a page as it is read: words only.
func (a answer) read() string {
	return strings.Join(strings.Fields(tags.ReplaceAllString(a.body, " ")), " ")
}

func TestFollowUpCountsThoseWhomTheHelperServes(t *testing.T) {
	each(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		// Sarah is at both schools of the delegation, and at one more; Paul is at none of them.
		twice := sarah
		twice.UAI = []string{"0590002b", "0590001A", "0590003C"}
		g.people.list[slices.IndexFunc(g.people.list, func(p directory.Person) bool { return p.ID == sarah.ID })] = twice
		for _, p := range []directory.Person{sarah, paul} {
			if err := g.mfa.Install(ctx, audit.System("test"), p.ID, sampleSecret); err != nil {
				t.Fatal(err)
			}
		}
		// Resets: two of hers eight days ago, one of his, one refused, one too long ago.
		reset := func(person string, ago time.Duration) {
			g.advance(-ago)
			if err := g.audit.Record(ctx, audit.Person("h", "h"), audit.Event{Action: "helpdesk.reset", Target: person, Outcome: "ok"}); err != nil {
				t.Fatal(err)
			}
			g.advance(ago)
		}
		reset(sarah.ID, 8*24*time.Hour)
		reset(sarah.ID, 8*24*time.Hour)
		reset(paul.ID, time.Hour)
		reset(sarah.ID, 13*7*24*time.Hour)
		g.audit.Refuse(ctx, audit.Person("h", "h"), audit.Event{Action: "helpdesk.reset", Target: sarah.ID, Outcome: "refused"})
		if err := g.mfa.AddKeys(ctx, audit.System("test"), "lot", "0590002B", []mfa.KeySpec{{Serial: "K-LATE", Algorithm: "TOTP", Hash: "SHA1", Digits: 6, Period: 30, Seed: seedOf(1)}}); err != nil {
			t.Fatal(err)
		}
		midnight := time.Date(2026, 11, 23, 23, 0, 0, 0, time.UTC) // in Paris
		if _, err := g.mfa.MoveKey(ctx, audit.System("test"), "K-LATE", mfa.KeyMove{Step: mfa.StepLend, Person: sarah.ID, Holder: "Sarah Smith", Reason: "un mois", Ends: midnight}); err != nil {
			t.Fatal(err)
		}

		g.advance(24 * time.Hour)
		desk := g.signed(marie, true) // and has a factor herself now
		a := desk.get("/helpdesk/follow-up")
		for _, part := range []string{
			"33 % 2 sur 6 personnes", "Application d’authentification sur téléphone 2", "0590001A 2 / 4 2 0 0 2 0 2", "0590002B 1 / 3 2 0 0 1 0 2",
			"Semaine du 09/11/2026 2", "Semaine du 23/11/2026 0", "1 clé prêtée, non rendue à temps K-LATE Sarah Smith · 0590002B · à rendre le lundi 23 novembre 2026",
		} {
			if !strings.Contains(a.read(), part) {
				t.Errorf("the follow-up lacks %q:\n%s", part, a.read())
			}
		}
		for _, part := range []string{"0590003C", "Semaine du 31/08/2026"} {
			if strings.Contains(a.body, part) {
				t.Errorf("the follow-up shows %q", part)
			}
		}
		if a = desk.get("/helpdesk/follow-up?school=0590002b"); !strings.Contains(a.read(), "33 % 1 sur 3 personnes") || !strings.Contains(a.body, `href="/helpdesk/schools/0590002B"`) {
			t.Errorf("one school: %s", a.read())
		}
		for _, path := range []string{"/helpdesk/follow-up", "/helpdesk/follow-up.csv"} {
			for _, uai := range []string{"0590003C", "0599999Z", "x", "%27"} {
				if a := desk.get(path + "?school=" + uai); a.status != http.StatusBadRequest || strings.Contains(a.body, "Paul") {
					t.Errorf("%s of %s: %d", path, uai, a.status)
				}
			}
		}

		// The head of one school sees that school only, and no keys of others.
		a = g.signed(head, true).get("/helpdesk/follow-up")
		if !strings.Contains(a.read(), "sur 3 personnes") || strings.Contains(a.body, "0590001A") {
			t.Errorf("the head: %s", a.read())
		}

		// A spreadsheet gets the same, and the trail says who took it.
		a = desk.get("/helpdesk/follow-up.csv")
		if !strings.HasPrefix(a.body, "\ufeff") {
			t.Error("no byte order mark")
		}
		table := csv.NewReader(strings.NewReader(strings.TrimPrefix(a.body, "\ufeff")))
		table.Comma = ';'
		rows, err := table.ReadAll()
		if err != nil || len(rows) != 3 || len(rows[0]) != 20 || rows[1][0] != "0590001A" || rows[2][0] != "0590002B" || rows[2][1] != "3" || rows[2][2] != "2" || rows[2][5] != "1" || rows[2][7] != "2" || rows[2][17] != "2" || rows[2][18] != "0" {
			t.Errorf("%v\n%s", err, a.body)
		}
		if told := g.done("helpdesk.export", ""); len(told) != 1 || told[0].Actor.ID != marie.ID || told[0].Detail["rows"] != "2" {
			t.Errorf("%+v", told)
		}
	})
}

// slowRoll lists people when it is let go.
type slowRoll struct {
	*people
	mu    sync.Mutex
	calls int
	go_   chan error
}

func (s *slowRoll) Roll(ctx context.Context, within []directory.Within) ([]directory.Member, error) {
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	if err := <-s.go_; err != nil {
		return nil, err
	}
	return s.people.Roll(ctx, within)
}

func TestFollowUpCountsOnceForAllAndSaysThatItCounts(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), nil)
	slow := &slowRoll{people: g.people, go_: make(chan error)}
	g.desk.roll = slow
	desk, other := g.signed(marie, true), g.signed(karim, true)
	var both sync.WaitGroup
	for _, b := range []*browser{desk, other} {
		both.Go(func() {
			if a := b.get("/helpdesk/follow-up"); a.status != http.StatusOK || !strings.Contains(a.body, "Comptage en cours") || strings.Contains(a.body, "follow-up.csv") {
				t.Errorf("%d %s", a.status, a.read())
			}
		})
	}
	both.Wait()
	slow.go_ <- nil
	if a := desk.get("/helpdesk/follow-up"); !strings.Contains(a.read(), "sur 6 personnes") {
		t.Errorf("%s", a.read())
	}
	if slow.calls != 1 {
		t.Errorf("%d counts for two helpers of one delegation", slow.calls)
	}
	// After five minutes it is counted again; a directory that is down is said, and asked again.
	g.advance(followKept)
	go func() { slow.go_ <- errors.Join(directory.ErrDown) }()
	if a := desk.get("/helpdesk/follow-up"); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d", a.status)
	}
	go func() { slow.go_ <- nil }()
	if a := desk.get("/helpdesk/follow-up.csv"); a.status != http.StatusOK || slow.calls != 3 {
		t.Errorf("%d after %d counts", a.status, slow.calls)
	}
}

func TestWeeksBeginOnMondayAlsoWhenClocksChange(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{time.Date(2026, 10, 26, 0, 0, 0, 0, paris), time.Date(2026, 11, 1, 23, 59, 0, 0, paris)} { // the week after the night of 25 October
		weeks := mondays(now, 3)
		for i, want := range []string{"2026-10-12 00:00", "2026-10-19 00:00", "2026-10-26 00:00"} {
			if got := weeks[i].Format("2006-01-02 15:04"); got != want || weeks[i].Weekday() != time.Monday {
				t.Errorf("%s: week %d begins %s, want %s", now, i, got, want)
			}
		}
	}
}
