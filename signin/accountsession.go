package signin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/templates"
)

func addressText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

// place says where an address is, as far as the academy's networks tell.
func (s *Service) place(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	for name := range s.rules.networks {
		if s.rules.within([]string{name}, ip) {
			return name + " (" + address + ")"
		}
	}
	return address
}

// browserName is a browser in words: "Firefox sur Windows".
func (s *Service) browserName(r *http.Request, agent string) string {
	browser, system := AgentName(agent)
	switch {
	case browser == "" && system == "":
		return text(r, "account.browser.unknown")
	case system == "":
		return browser
	case browser == "":
		return system
	}
	return text(r, "account.browser", "browser", browser, "system", system)
}

// sessionInfos lists where the person is signed in; mine is the session that asks.
func (s *Service) sessionInfos(r *http.Request, mine *session.Session) ([]templates.AccountSession, error) {
	all, err := s.sessions.OfPerson(r.Context(), mine.Person)
	if err != nil {
		return nil, err
	}
	var list []templates.AccountSession
	for _, one := range all {
		var data sessionData
		if err := json.Unmarshal(one.Data, &data); err != nil {
			continue // it proves nothing, and ends by itself
		}
		info := templates.AccountSession{
			SID: one.SID, Browser: s.browserName(r, data.Agent), Place: s.place(data.Address), Since: s.Local(one.Created.Time), Seen: s.Local(one.Seen.Time),
			This: one.SID == mine.SID, Strong: int(data.Level),
		}
		if info.This {
			list = append([]templates.AccountSession{info}, list...)
			continue
		}
		list = append(list, info)
	}
	return list, nil
}

// showSessions answers GET /account/sessions.
func (s *Service) showSessions(w http.ResponseWriter, r *http.Request) error {
	person, sess, _, err := s.mine(w, r, "/account/sessions")
	if person.ID == "" {
		return err
	}
	page := &templates.AccountSessions{Done: doneWords(r)}
	if page.Sessions, err = s.sessionInfos(r, sess); err != nil {
		return err
	}
	return s.renderMine(w, r, http.StatusOK, text(r, "account.sessions.title"), page)
}

// EndOne ends one session of the person, with all that rests on it;
// db.ErrNotFound when the person has none with this public id.
func (s *Service) EndOne(ctx context.Context, actor audit.Actor, person, sid string) error {
	one, err := s.sessions.Alive(ctx, sid)
	if err == nil && one.Person != person {
		err = db.ErrNotFound
	}
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.runHooks(ctx, person, sid); err != nil {
			return err
		}
		if _, err := s.sessions.EndSID(ctx, sid); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "signin.session", Target: person, Outcome: "ok", Detail: map[string]string{"sid": sid}})
	})
}

// postEndSession answers POST /account/sessions, field sid: one browser is
// signed out. Ending takes nothing but a session: whoever finds a stranger's
// must not be kept from it by a lost telephone.
func (s *Service) postEndSession(w http.ResponseWriter, r *http.Request) error {
	person, sess, _, err := s.mine(w, r, "/account/sessions")
	if person.ID == "" {
		return err
	}
	sid := web.Field(r, "sid")
	if sid == sess.SID {
		return s.postLogout(w, r)
	}
	if err := s.EndOne(r.Context(), actorOf(person), person.ID, sid); err != nil && !errors.Is(err, db.ErrNotFound) {
		return err // one that has ended already is what was wanted
	}
	return web.Redirect(w, r, "/account/sessions?done=session")
}

// historyPage is how many lines of the history a page has.
const historyPage = 30

// history lists what happened to a person's account, older than the cursor.
func (s *Service) history(r *http.Request, person, before string, n int) (events []templates.AccountEvent, next string, err error) {
	rows, err := s.audit.Search(r.Context(), audit.Filter{Target: person, Actions: StoryActions(), Before: before, Limit: n + 1})
	if err != nil {
		return nil, "", err
	}
	if len(rows) > n {
		next, rows = rows[n-1].Cursor(), rows[:n]
	}
	for _, row := range rows {
		told := Story(web.Lang(r.Context()), row)
		if told == "" {
			continue
		}
		e := templates.AccountEvent{
			At: s.Local(row.At), Text: told, Application: row.Application, Browser: s.browserName(r, row.Agent), Place: s.place(row.Address), Bad: row.Outcome != "ok",
		}
		if row.Actor.Kind == "system" || row.Agent == "" {
			e.Browser = ""
		}
		if row.Actor.ID != person && row.Actor.Kind != "anonymous" && row.Actor.Kind != "system" {
			e.By = s.authorName(r.Context(), row.Actor)
		}
		events = append(events, e)
	}
	return events, next, nil
}

// authorName is who did something to a person's account.
func (s *Service) authorName(ctx context.Context, a audit.Actor) string {
	if a.Kind == "person" {
		if p, err := s.directory.ByID(ctx, a.ID); err == nil {
			return displayName(p)
		} else if !errors.Is(err, directory.ErrUnknown) {
			s.log.WarnContext(ctx, "the author of a line of history is not named", "error", err)
		}
	}
	return strings.TrimSpace(a.Name)
}

// showHistory answers GET /account/history.
func (s *Service) showHistory(w http.ResponseWriter, r *http.Request) error {
	person, _, _, err := s.mine(w, r, "/account/history")
	if person.ID == "" {
		return err
	}
	before := r.URL.Query().Get("before")
	page := &templates.AccountHistory{Older: before != ""}
	page.Events, page.Next, err = s.history(r, person.ID, before, historyPage)
	if errors.Is(err, audit.ErrCursor) {
		return web.Redirect(w, r, "/account/history")
	}
	if err != nil {
		return err
	}
	return s.renderMine(w, r, http.StatusOK, text(r, "account.history.title"), page)
}

// SessionCount is how many browsers the person is signed in with.
func (s *Service) SessionCount(ctx context.Context, person string) (int, error) {
	return s.sessions.Count(ctx, person)
}
