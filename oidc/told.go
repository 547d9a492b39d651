package oidc

import (
	"slices"

	"beffroi/internal/i18n"
)

// sameThing are names that tell the same as another one.
var sameThing = map[string]string{
	"email_verified": "email", "phone_number": "phone", "groups_csv": "groups",
	"uid": "preferred_username", "usual_name": "family_name", "siren": "siret",
}

// inProfile are the claims that the scope profile tells already.
var inProfile = []string{"name", "given_name", "family_name", "preferred_username", "locale"}

// told says in the reader's words what an application may learn or do by these
// scopes and claims, each thing once. A scope that is an application's own is
// named as it is; a claim without a sentence is one that nobody is told.
func told(lang i18n.Lang, scopes, claims []string) []string {
	var sentences, done []string
	say := func(name string, own bool) {
		if same, ok := sameThing[name]; ok {
			name = same
		}
		if slices.Contains(done, name) || slices.Contains(inProfile, name) && slices.Contains(scopes, "profile") {
			return
		}
		done = append(done, name)
		key := "oidc.told." + name
		switch sentence := i18n.T(lang, key); {
		case sentence != key:
			sentences = append(sentences, sentence)
		case own:
			sentences = append(sentences, i18n.T(lang, "oidc.told", "scope", name))
		}
	}
	for _, s := range scopes {
		say(s, true)
	}
	for _, c := range claims {
		say(c, false)
	}
	return sentences
}
