package portal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/session"
	"beffroi/internal/web"
)

// A mandate is a grant of its own that a person gives the portal, so that what
// they asked for (a message to leave on Monday) is done when they are signed out.
// It is kept as a session that no cookie opens. The provider ends it with the
// person's account, by a sign-out everywhere, and when the portal gives it back.

// mandateLife is how long a mandate lasts at most: longer than what is asked for
// in advance.
const mandateLife = 100 * 24 * time.Hour

// Mandate makes sure that there is a mandate of the person signed in and leads the
// browser on to next, by way of the provider when there is none yet. Where the
// provider does not give one without asking, next gets the query mandate=none.
func (p *Portal) Mandate(w http.ResponseWriter, r *http.Request, next string) error {
	has, err := p.hasMandate(r.Context(), Who(r.Context()).Sub)
	if err != nil { // the browser is led on all the same: what was asked for is kept
		p.log.WarnContext(r.Context(), "mandate not looked for", "error", err)
		return web.Redirect(w, r, withoutMandate(next))
	}
	if has {
		return web.Redirect(w, r, next)
	}
	f, err := p.provider(r.Context())
	if err != nil {
		return web.Redirect(w, r, withoutMandate(next))
	}
	return p.leadAway(w, r, f, attempt{Return: next, Mandate: true}, oauth2.SetAuthURLParam("prompt", "none"))
}

// withoutMandate is an address that says so.
func withoutMandate(next string) string {
	glue := "?"
	if strings.Contains(next, "?") {
		glue = "&"
	}
	return next + glue + url.Values{"mandate": {"none"}}.Encode()
}

func (p *Portal) hasMandate(ctx context.Context, person string) (bool, error) {
	rows, err := p.mandates.OfPerson(ctx, person)
	if err != nil {
		return false, fmt.Errorf("mandates: %w", err)
	}
	for _, row := range rows {
		switch _, err := p.as(ctx, row); {
		case err == nil:
			return true, nil
		case errors.Is(err, ErrSignedOut): // ended at the provider
			if _, err := p.mandates.EndSID(ctx, row.SID); err != nil {
				return false, fmt.Errorf("mandates: %w", err)
			}
			p.vaults.drop(row.SID)
		default:
			return false, err
		}
	}
	return false, nil
}

// keepMandate is the end of the way that Mandate began.
func (p *Portal) keepMandate(w http.ResponseWriter, r *http.Request, f *found, a attempt, person Person, t tokens) error {
	row := session.From(r.Context())
	if row == nil || row.Person != person.Sub || t.Refresh == "" {
		p.giveBack(r.Context(), f, t)
		return web.Redirect(w, r, withoutMandate(a.Return))
	}
	data, err := p.pack(person, t)
	if err != nil {
		return err
	}
	err = p.db.InTx(r.Context(), func(ctx context.Context) error {
		if _, err := p.mandates.Keep(ctx, person.Sub, data); err != nil {
			return fmt.Errorf("keep mandate: %w", err)
		}
		return p.audit.Record(ctx, audit.Person(person.Sub, person.Login),
			audit.Event{Action: "portal.mandate", Target: person.Sub, Application: p.Config.ClientID, Outcome: "ok"})
	})
	if err != nil {
		p.giveBack(r.Context(), f, t)
		return err
	}
	return web.Redirect(w, r, a.Return)
}

// EndMandates gives the mandates of a person back: nothing is left to do for them.
func (p *Portal) EndMandates(ctx context.Context, person string) error {
	rows, err := p.mandates.OfPerson(ctx, person)
	if err != nil || len(rows) == 0 {
		return err
	}
	if _, err := p.mandates.EndAll(ctx, person); err != nil {
		return fmt.Errorf("end mandates: %w", err)
	}
	f, err := p.provider(ctx)
	for _, row := range rows {
		p.vaults.drop(row.SID)
		if _, t, err2 := p.unpack(row); err == nil && err2 == nil {
			p.giveBack(ctx, f, t)
		}
	}
	return nil
}

// alive is the session, or mandate, of a name, or db.ErrNotFound.
func (p *Portal) alive(ctx context.Context, sid string) (*session.Session, error) {
	row, err := p.sessions.Alive(ctx, sid)
	if errors.Is(err, db.ErrNotFound) {
		return p.mandates.Alive(ctx, sid)
	}
	return row, err
}
