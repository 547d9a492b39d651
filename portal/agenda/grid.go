package agenda

import (
	"sort"
	"time"

	"beffroi/templates"
)

// The hours that a week always shows; events outside widen it.
const (
	firstHour = 8
	lastHour  = 18
)

// maxLanes is how many events stand side by side; more share the last lane.
const maxLanes = 6

// piece is the part of an event within one day, in minutes of the wall clock.
type piece struct {
	entry    entry
	from, to int
	lane     int
	lanes    int
	begins   bool // the event itself begins here
}

// pieces cuts the timed events of a day out of the entries. Events of a whole
// day and longer are left to the row on top.
func pieces(entries []entry, day time.Time) []piece {
	next := day.AddDate(0, 0, 1)
	var all []piece
	for _, e := range entries {
		if onTop(e) || !e.Start.Before(next) || e.End.Before(day) || (e.End.Equal(day) && e.Start.Before(day)) {
			continue
		}
		p := piece{entry: e, from: 0, to: 24 * 60, begins: !e.Start.Before(day)}
		if p.begins {
			p.from = e.Start.Hour()*60 + e.Start.Minute()
		}
		if e.End.Before(next) {
			p.to = e.End.Hour()*60 + e.End.Minute()
		}
		if p.to < p.from { // across the hour that comes twice in autumn
			p.to = p.from
		}
		all = append(all, p)
	}
	return all
}

func onTop(e entry) bool { return e.AllDay || e.End.Sub(e.Start) >= 24*time.Hour }

// shortest is how low an event is drawn, in minutes: its title must fit.
const shortest = 30

// arrange lays pieces that overlap side by side: each takes the first lane that
// is free, and all that touch each other share the width evenly.
func arrange(all []piece) []piece {
	sort.SliceStable(all, func(i, j int) bool {
		if all[i].from != all[j].from {
			return all[i].from < all[j].from
		}
		return all[i].to > all[j].to
	})
	begin, end := 0, -1
	var free []int // by lane: when it is free again
	closeGroup := func(upTo int) {
		for i := begin; i < upTo; i++ {
			all[i].lanes = len(free)
		}
		begin, free = upTo, free[:0]
	}
	for i := range all {
		bottom := max(all[i].to, all[i].from+shortest)
		if all[i].from >= end {
			closeGroup(i)
		}
		lane := 0
		for lane < len(free) && free[lane] > all[i].from {
			lane++
		}
		switch {
		case lane == len(free) && lane < maxLanes:
			free = append(free, bottom)
		case lane == len(free):
			lane = maxLanes - 1
			free[lane] = max(free[lane], bottom)
		default:
			free[lane] = bottom
		}
		all[i].lane = lane
		end = max(end, bottom)
	}
	closeGroup(len(all))
	return all
}

// hours is the range that shows every piece, in whole hours.
func hours(days [][]piece) (from, to int) {
	from, to = firstHour, lastHour
	for _, day := range days {
		for _, p := range day {
			from = min(from, p.from/60)
			to = max(to, (max(p.to, min(p.from+shortest, 24*60))+59)/60)
		}
	}
	return from, to
}

// fives rounds minutes to what agenda.css has classes for.
func fives(minutes int) int { return minutes / 5 * 5 }

// block is a piece as the template draws it: offsets count from the first hour.
func (p piece) block(firstHour int) templates.AgendaBlock {
	top := fives(p.from - firstHour*60)
	height := max(fives(p.to-p.from), shortest)
	if over := p.from + height - 24*60; over > 0 {
		top -= over
	}
	it := item(p.entry)
	it.Continued = !p.begins
	return templates.AgendaBlock{AgendaItem: it, TopHour: top / 60, TopMinute: top % 60, Hours: height / 60, Minutes: height % 60,
		Lane: p.lane, Lanes: p.lanes, Small: height < 45}
}

// bars draws the row on top of a week: events of whole days, over the columns
// that they cover.
func bars(entries []entry, monday time.Time) []templates.AgendaBar {
	var all []templates.AgendaBar
	for _, e := range entries {
		if !onTop(e) {
			continue
		}
		first, last := 7, -1
		for i := range 7 {
			day := monday.AddDate(0, 0, i)
			if e.Start.Before(day.AddDate(0, 0, 1)) && e.End.After(day) {
				first, last = min(first, i), i
			}
		}
		if last < 0 {
			continue
		}
		all = append(all, templates.AgendaBar{AgendaItem: item(e), Column: first + 1, Width: last - first + 1})
	}
	return all
}
