package agenda

import (
	"fmt"
	"testing"
	"time"

	"beffroi/portal/dav"
)

func at(text string) time.Time {
	when, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return when
}

func lanes(events ...string) string {
	day := at("2026-11-23 00:00")
	var entries []entry
	for i := 0; i < len(events); i += 2 {
		entries = append(entries, entry{Occurrence: dav.Occurrence{Start: at("2026-11-23 " + events[i]), End: at("2026-11-23 " + events[i+1])}, calendar: &calendar{}})
	}
	out := ""
	for _, p := range arrange(pieces(entries, day)) {
		out += fmt.Sprintf("%d/%d ", p.lane, p.lanes)
	}
	return out
}

func TestEventsThatOverlapStandSideBySide(t *testing.T) {
	for name, c := range map[string]struct{ got, want string }{
		"alone":                  {lanes("09:00", "10:00"), "0/1 "},
		"one after the other":    {lanes("09:00", "10:00", "10:00", "11:00"), "0/1 0/1 "},
		"two at once":            {lanes("09:00", "10:00", "09:30", "11:00"), "0/2 1/2 "},
		"a chain shares a width": {lanes("09:00", "10:00", "09:30", "11:00", "10:30", "12:00"), "0/2 1/2 0/2 "},
		"short ones are drawn higher, so they share": {lanes("09:00", "09:05", "09:10", "09:15"), "0/2 1/2 "},
		"seven at once share six lanes":              {lanes("09:00", "10:00", "09:00", "10:00", "09:00", "10:00", "09:00", "10:00", "09:00", "10:00", "09:00", "10:00", "09:00", "10:00"), "0/6 1/6 2/6 3/6 4/6 5/6 5/6 "},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
}

func TestANightIsCutAtMidnightAndTheLastMinutesStayInside(t *testing.T) {
	e := entry{Occurrence: dav.Occurrence{Start: at("2026-11-23 22:30"), End: at("2026-11-24 02:00")}, calendar: &calendar{}}
	first := pieces([]entry{e}, at("2026-11-23 00:00"))
	second := pieces([]entry{e}, at("2026-11-24 00:00"))
	if len(first) != 1 || first[0].from != 22*60+30 || first[0].to != 24*60 || !first[0].begins {
		t.Errorf("%+v", first)
	}
	if len(second) != 1 || second[0].from != 0 || second[0].to != 120 || second[0].begins {
		t.Errorf("%+v", second)
	}
	late := entry{Occurrence: dav.Occurrence{Start: at("2026-11-23 23:50"), End: at("2026-11-23 23:55")}, calendar: &calendar{}}
	b := arrange(pieces([]entry{late}, at("2026-11-23 00:00")))[0].block(8)
	if (b.TopHour+8)*60+b.TopMinute+b.Hours*60+b.Minutes > 24*60 {
		t.Errorf("drawn below midnight: %+v", b)
	}
}
