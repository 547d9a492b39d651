package audit_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

func TestSearchFindsByEveryFieldAndPagesOn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		at := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
		l := audit.New(d, func() time.Time { return at })
		write := func(actor audit.Actor, e audit.Event) {
			t.Helper()
			if err := l.Record(t.Context(), actor, e); err != nil {
				t.Fatal(err)
			}
			at = at.Add(time.Hour)
		}
		marie, helper := audit.Person("marie", "Marie"), audit.Person("helper", "Helper")
		write(marie, audit.Event{Action: "signin.password", Target: "marie", Application: "glpi"})
		write(audit.Anonymous(), audit.Event{Action: "signin.password", Target: "marie", Application: "glpi", Outcome: "refused"})
		write(helper, audit.Event{Action: "mfa.reset", Target: "marie"})
		write(marie, audit.Event{Action: "mfa.enrol", Target: "marie"})
		write(helper, audit.Event{Action: "mfa_reset", Target: "paul"})
		write(audit.Anonymous(), audit.Event{Action: "web.origin", Outcome: "refused"})
		start := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
		for name, c := range map[string]struct {
			f    audit.Filter
			want string
		}{
			"everything":       {audit.Filter{}, "web.origin mfa_reset mfa.enrol mfa.reset signin.password signin.password"},
			"a person":         {audit.Filter{Person: "marie"}, "mfa.enrol mfa.reset signin.password signin.password"},
			"a person, two":    {audit.Filter{Person: "marie", Limit: 2}, "mfa.enrol mfa.reset"},
			"an actor":         {audit.Filter{Actor: "helper"}, "mfa_reset mfa.reset"},
			"a target":         {audit.Filter{Target: "paul"}, "mfa_reset"},
			"a prefix":         {audit.Filter{Action: "mfa."}, "mfa.enrol mfa.reset"},
			"several":          {audit.Filter{Person: "marie", Actions: []string{"signin.", "mfa.reset"}}, "mfa.reset signin.password signin.password"},
			"failures":         {audit.Filter{Target: "marie", Outcome: "refused"}, "signin.password"},
			"an application":   {audit.Filter{Application: "glpi", Actor: "marie"}, "signin.password"},
			"a time":           {audit.Filter{Person: "marie", From: start.Add(time.Hour), To: start.Add(3 * time.Hour)}, "mfa.reset signin.password"},
			"nobody's":         {audit.Filter{Person: "nobody"}, ""},
			"no action's name": {audit.Filter{Action: "mfa"}, ""},
		} {
			rows, err := l.Search(t.Context(), c.f)
			var got []string
			for _, r := range rows {
				got = append(got, r.Action)
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%s: %v (%v), want %s", name, got, err, c.want)
			}
		}
		for _, bad := range []string{"x", "12", ".a", "1x.a"} {
			if _, err := l.Search(t.Context(), audit.Filter{Before: bad}); !errors.Is(err, audit.ErrCursor) {
				t.Errorf("cursor %q: %v", bad, err)
			}
		}
		// Rows of one moment are neither skipped nor repeated at the edge of a page.
		for i := range 7 {
			if err := l.Record(t.Context(), helper, audit.Event{Action: "same", Target: "marie", Detail: map[string]string{"n": fmt.Sprint(i)}}); err != nil {
				t.Fatal(err)
			}
		}
		var all []string
		for f := (audit.Filter{Person: "marie", Limit: 3}); ; {
			rows, err := l.Search(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) == 0 {
				break
			}
			for _, r := range rows {
				all = append(all, r.ID)
			}
			f.Before = rows[len(rows)-1].Cursor()
		}
		slices.Sort(all)
		if len(all) != 11 || len(slices.Compact(all)) != 11 {
			t.Errorf("%d rows by pages, want 11, each once", len(all))
		}
	})
}

func TestDoneTellsWhatWasDoneAndNotWhatWasRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		monday := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
		at := monday
		l := audit.New(d, func() time.Time { return at })
		for _, after := range []time.Duration{-time.Microsecond, 0, 400 * time.Hour} {
			at = monday.Add(after)
			for _, e := range []audit.Event{{Action: "mfa.reset", Target: "p"}, {Action: "mfa.resets", Target: "p"}} {
				if err := l.Record(t.Context(), audit.Operator("root"), e); err != nil {
					t.Fatal(err)
				}
			}
			l.Refuse(t.Context(), audit.Operator("root"), audit.Event{Action: "mfa.reset", Target: "q"})
		}
		var told []time.Time
		err := l.Done(t.Context(), "mfa.reset", monday, func(target string, at time.Time) {
			if target != "p" {
				t.Errorf("of %q", target)
			}
			told = append(told, at)
		})
		slices.SortFunc(told, time.Time.Compare)
		if err != nil || len(told) != 2 || !told[0].Equal(monday) || !told[1].Equal(monday.Add(400*time.Hour)) {
			t.Errorf("%v (%v)", told, err)
		}
	})
}
