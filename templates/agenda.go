package templates

import "time"

// AgendaOverview is the overview: a week, or a list of days.
type AgendaOverview struct {
	Layout
	View           string // "week" or "list"
	Span           string // "23 – 29 novembre 2026"
	From, To       time.Time
	Day, Today     string // of the address, 2006-01-02
	Previous, Next string
	Here           string // this page, to come back to
	Calendars      []AgendaCalendar
	Days           []AgendaDay
	Bars           []AgendaBar
	FirstHour      int
	Hours          int
	HourLabels     []string
	Unreadable     []string // events that cannot be shown
	Failed         []string // calendars that cannot be read
	Done           string   // key of a sentence
	Writable       bool     // some calendar takes new events
}

func (AgendaOverview) Template() string { return "agenda_overview.html" }

// AgendaCalendar is one calendar; Palette is a colour of agenda.css.
type AgendaCalendar struct {
	ID, Name         string
	Palette          int
	Hidden, ReadOnly bool
}

// AgendaDay is one day: Items for lists, Blocks for the week's grid.
type AgendaDay struct {
	Date               time.Time
	Value              string // 2006-01-02
	Today, Weekend     bool
	Items              []AgendaItem
	Blocks             []AgendaBlock
	Now                bool
	NowHour, NowMinute int // of the now-line, from the first hour shown
}

// AgendaItem is one occurrence of an event.
type AgendaItem struct {
	Href, Title, Place, Calendar string
	Start, End                   time.Time
	AllDay, Repeats              bool
	Cancelled, Tentative         bool
	Palette                      int
	Continued, EndsToday         bool // in a list of days: began before, ends on this one
	WholeDay                     bool // fills this day
}

// AgendaBlock is an item in the grid: where it begins and how high it is, from
// the first hour shown, and its lane among those that overlap.
type AgendaBlock struct {
	AgendaItem
	TopHour, TopMinute int
	Hours, Minutes     int
	Lane, Lanes        int
	Small              bool
}

// AgendaBar is an item of whole days: first column (1–7) and columns covered.
type AgendaBar struct {
	AgendaItem
	Column, Width int
}

// AgendaDetail is everything shown of one event.
type AgendaDetail struct {
	AgendaItem
	Description, Organizer string
	Attendees              []string
	ReadOnly               bool
	LastDay                time.Time
	Rule                   string // "daily", "weekly", "monthly", "yearly" or empty
	Interval               int
	Until                  time.Time
	Exception              bool
}

// AgendaEvent is an event's own page.
type AgendaEvent struct {
	Layout
	Event              AgendaDetail
	Back, Edit, Delete string
	Done               string
}

func (AgendaEvent) Template() string { return "agenda_event.html" }

// AgendaForm is what a person types, as typed.
type AgendaForm struct {
	Title, Place, Description string
	AllDay                    bool
	StartDay, StartTime       string
	EndDay, EndTime           string // EndDay is the last day of an all-day event
	Calendar, Repeat, Until   string
	Scope, Key, ETag          string
	Problem                   string        // key of a sentence
	Other                     *AgendaDetail // what somebody else saved meanwhile
	Gone                      bool          // the event was deleted meanwhile
}

// AgendaEdit is the form of a new or an existing event.
type AgendaEdit struct {
	Layout
	Form           AgendaForm
	Action, Cancel string
	Calendars      []AgendaCalendar // to choose from; new events only
	CalendarName   string
	Existing       bool
	Repeats        bool
	Zone           string
}

func (AgendaEdit) Template() string { return "agenda_edit.html" }

// AgendaDelete asks before an event goes.
type AgendaDelete struct {
	Layout
	Event        AgendaDetail
	Action, Back string
	Key, ETag    string
	Changed      bool // somebody changed it since the question was asked
}

func (AgendaDelete) Template() string { return "agenda_delete.html" }
