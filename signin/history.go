package signin

import (
	"beffroi/internal/audit"
	"beffroi/internal/i18n"
)

// stories says what a row of the trail means for the person whom it is about,
// by action, outcome and reason; the first that fits holds.
var stories = []struct{ action, outcome, reason, key string }{
	{"signin", "ok", "", "account.history.signin"},
	{"signin.password", "refused", "wrong", "account.history.password.wrong"},
	{"signin.password", "refused", "locked", "account.history.password.locked"},
	{"signin.password", "refused", "expired", "account.history.password.expired"},
	{"signin.password", "refused", "must-change", "account.history.password.change"},
	{"signin.password", "refused", "disabled", "account.history.password.disabled"},
	{"signin.password", "refused", "", "account.history.password.refused"},
	{"signin.password", "ok", "", "account.history.password.ok"},
	{"signin.factor", "refused", "locked", "account.history.factor.locked"},
	{"signin.factor", "refused", "used", "account.history.factor.used"},
	{"signin.factor", "refused", "ahead", "account.history.factor.ahead"},
	{"signin.factor", "refused", "", "account.history.factor.wrong"},
	{"signin.factor", "ok", "", "account.history.factor.ok"},
	{"signin.passkey", "ok", "", "account.history.factor.ok"},
	{"signin.gate", "refused", "not_in_group", "account.history.gate.group"},
	{"signin.gate", "refused", "locked", "account.history.gate.locked"},
	{"signin.gate", "refused", "", "account.history.gate"},
	{"signin.level", "refused", "", "account.history.level"},
	{"signin.later", "", "", "account.history.later"},
	{"signin.lock", "ok", "", "account.history.lock"},
	{"signin.open", "ok", "", "account.history.open"},
	{"signin.unlock", "ok", "", "account.history.unlock"},
	{"signin.session", "ok", "", "account.history.session"},
	{"signout", "", "", "account.history.signout"},
	{"signout.everywhere", "", "", "account.history.everywhere"},
	{"signout.left", "", "", "account.history.left"},
	{"mfa.enrol", "ok", "", "account.history.enrol"},
	{"mfa.enrol", "refused", "", "account.history.enrol.refused"},
	{"mfa.remove", "ok", "", "account.history.remove"},
	{"mfa.rename", "ok", "", "account.history.rename"},
	{"mfa.reset", "ok", "", "account.history.reset"},
	{"mfa.mailcode", "ok", "", "account.history.mailcode"},
	{"mfa.mailcode", "refused", "", "account.history.mailcode.refused"},
	{"mfa.recovery", "ok", "", "account.history.recovery"},
	{"mfa.pass", "ok", "", "account.history.pass"},
	{"mfa.pass.used", "ok", "", "account.history.pass.used"},
	{"mfa.pass.revoke", "ok", "", "account.history.pass.revoke"},
	{"mfa.device", "ok", "", "account.history.device"},
	{"mfa.device.theft", "", "", "account.history.theft"},
	{"mfa.clone", "", "", "account.history.clone"},
	{"mfa.lockcard", "ok", "", "account.history.card"},
}

// StoryActions are the actions that Story has words for.
func StoryActions() []string {
	var all []string
	for _, s := range stories {
		if len(all) == 0 || all[len(all)-1] != s.action {
			all = append(all, s.action)
		}
	}
	return all
}

// Story says a row of the trail in plain words, for the person and for whoever
// helps them on the telephone; empty when there are none for it.
func Story(l i18n.Lang, row audit.Row) string {
	for _, s := range stories {
		if s.action == row.Action && (s.outcome == "" || s.outcome == row.Outcome) && (s.reason == "" || s.reason == row.Detail["reason"]) {
			return i18n.T(l, s.key)
		}
	}
	return ""
}
