package helpdesk

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"beffroi/directory"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// Roll lists everybody of a part of the directory.
type Roll interface {
	Roll(ctx context.Context, within []directory.Within) ([]directory.Member, error)
}

// servesSchool tells whether the helper serves everybody of a school: as its
// head, or by a delegation that names no more than schools.
func (r *Rules) servesSchool(running []given, uai string) bool {
	return slices.ContainsFunc(running, func(g given) bool {
		return g.Everyone || anyFold(g.Schools, uai) && len(g.Groups)+len(g.Kinds)+len(g.Functions) == 0
	})
}

// wholeSchools are the schools that the helper serves whole, by name.
func (d *Desk) wholeSchools(h Helper) []string {
	running, _ := d.rules.running(h, d.now())
	var all []string
	for _, g := range running {
		for _, uai := range g.Schools {
			if !slices.Contains(all, uai) && d.rules.servesSchool(running, uai) {
				all = append(all, uai)
			}
		}
	}
	slices.Sort(all)
	return all
}

// showSchool answers GET /helpdesk/schools/{uai}: who has no factor, the keys to
// be handed over, and what waits for a word.
func (d *Desk) showSchool(w http.ResponseWriter, r *http.Request) error {
	uai := strings.ToUpper(r.PathValue("uai"))
	h, ok, err := d.helper(w, r, "/helpdesk/schools/"+url.PathEscape(uai))
	if !ok {
		return err
	}
	running, err := d.rules.running(h, d.now())
	if err != nil || !d.rules.servesSchool(running, uai) {
		no := &Refusal{Reason: Scope, Schools: []string{uai}}
		d.refuse(r.Context(), h, Read, "", no)
		return d.renderRefused(w, r, no, uai)
	}
	if d.roll == nil || !uaiCode.MatchString(uai) {
		return web.Fail(http.StatusNotFound, "web.error.not_found", nil)
	}
	ctx := r.Context()
	people, err := d.roll.Roll(ctx, []directory.Within{{Schools: []string{uai}}})
	if err != nil {
		return web.Fail(http.StatusServiceUnavailable, "helpdesk.error.directory", err)
	}
	holders, err := d.mfa.Holders(ctx)
	if err != nil {
		return err
	}
	page := &templates.HelpdeskSchool{UAI: uai, People: len(people), Letters: d.mayWrite(h, uai)}
	counts := map[mfa.Method]int{}
	for _, p := range people {
		held := mfa.Held{}
		for _, m := range holders[p.ID] {
			held[m]++
			counts[m]++
		}
		if held.Lasting() == 0 {
			page.Without = append(page.Without, templates.HelpdeskWho{ID: p.ID, Name: p.DisplayName, Login: p.Login})
		}
	}
	for _, m := range []mfa.Method{mfa.Passkey, mfa.Key, mfa.TOTP, mfa.Mail} {
		page.Counts = append(page.Counts, templates.HelpdeskCount{Kind: string(m), N: counts[m]})
	}
	for _, state := range []mfa.KeyState{mfa.KeyAssigned, mfa.KeyStock, mfa.KeyReturned} {
		keys, err := d.mfa.Keys(ctx, mfa.KeyFilter{School: uai, State: state}, "", keysPage)
		if err != nil {
			return err
		}
		for _, k := range keys {
			page.Keys = append(page.Keys, d.keyInfo(k))
		}
	}
	open, _, err := d.openRequests(ctx, h.Person.ID)
	if err != nil {
		return err
	}
	for _, q := range open {
		if could, err := d.couldDecide(ctx, h, q); err != nil {
			return err
		} else if could {
			page.Waiting++
		}
	}
	return render(w, r, http.StatusOK, text(r, "helpdesk.school.title", "uai", uai), page)
}
