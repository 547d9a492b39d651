// Package directory is the boundary to the academy's directory: who a login
// name is, whether the password is right, which groups the person is in.
//
// What it promises. One person has one identity, Person.ID, whatever they type
// to sign in: the directory's own unchanging identifier (entryUUID, objectGUID),
// never the login name. A password is only ever checked by a bind of its owner
// on a connection used for nothing else. What a person types reaches a filter or
// a DN only escaped. An unknown name costs the same work as a wrong password.
// No call outlives its context or hangs on a silent server: with several
// servers the next one answers, with none the error is ErrDown. Nothing here
// writes to the directory.
//
// What it does not promise: that a Person is fresher than Config.Remember (60 s
// at most), except from Authenticate, which asks each time (what ByLogin asked
// within the same second counts, once).
//
// Two implementations pass the same suite (directorytest): LDAP, for slapd,
// 389 Directory Server and Active Directory; and LDIF, a directory in a file for
// trials and tests. Called by signin (Authenticate and the gate), by oidc
// (claims, people search) and by the operator's commands.
package directory

import (
	"context"
	"errors"
)

// Person is what the directory says of somebody. Fields that the directory does
// not hold are empty. The slices belong to the caller.
type Person struct {
	ID          string // entryUUID or objectGUID, lower case, for life
	DN          string
	Login       string // as the directory writes it, not as the person typed it
	DisplayName string
	GivenName   string
	FamilyName  string

	Mail        string
	MailAliases []string // further addresses of the person, Mail not among them
	Language    string   // preferredLanguage as written: "fr", "en", "fr-FR"; "" when unset

	UAI            []string // schools where the person works: "0590002B"
	UAIResponsible []string // schools that the person heads
	Function       string   // administrative function code
	Kind           string   // kind of staff: ENS, ADM, DIR, EXT…
	Title          string
	Phone          string
	EmployeeNumber string // matricule, as the academy's personnel office writes it

	// Groups holds the names (cn) of the person's groups, sorted, each once.
	// It is empty in what Search returns.
	Groups []string

	// Disabled is what the directory says for good: an account closed or
	// expired. A lock that passes by itself is an Outcome, not this.
	Disabled bool
}

// Query asks for people by words of their name, mail address or login.
type Query struct {
	Text  string // every word must match; fewer than two letters in all find nobody, unless Within says where to look
	Limit int    // 20 when 0, 100 at most

	// Within leaves out whoever fits none of its parts; nil leaves out nobody.
	// With it, an empty Text lists the people there. A part that names nothing
	// finds nobody: never everybody.
	Within []Within

	// AlsoIn narrows further to people of these schools.
	AlsoIn []string

	HeadsOf         string // only who heads this school
	IncludeDisabled bool   // also closed accounts
}

// Within is a part of the directory: the people who fit every list that is not
// empty, or Everyone. Groups count as the entry of the person names them
// (memberOf), without those around them; where entries do not, only the first
// hundred who fit the rest are looked at.
type Within struct {
	Everyone  bool
	Schools   []string // UAI codes
	Groups    []string
	Kinds     []string
	Functions []string
}

func (w Within) empty() bool {
	return len(w.Schools)+len(w.Groups)+len(w.Kinds)+len(w.Functions) == 0
}

// Directory is what the rest of the house knows of the academy's directory.
type Directory interface {
	// Authenticate checks a password. The error is ErrDown or the context's and
	// then nothing is known; otherwise Outcome tells. The Person is filled
	// whenever the login is known, also beside Wrong, for the audit: only
	// Outcome.OK lets anybody in. Groups are filled only when OK.
	Authenticate(ctx context.Context, login, password string) (Person, Outcome, error)

	// ByID finds a person by Person.ID: ErrUnknown, ErrDown or the context's
	// error. The answer may be as old as Config.Remember.
	ByID(ctx context.Context, id string) (Person, error)

	// ByLogin finds a person by login name, or by a mail address that is one
	// person's only, with the same errors, asking the directory each time.
	ByLogin(ctx context.Context, login string) (Person, error)

	// Search lists people by name, disabled ones left out unless asked for,
	// sorted by family name. A text too short to mean anything finds nobody:
	// never everybody.
	Search(ctx context.Context, q Query) ([]Person, error)

	// Ping asks the directory for something small. Nil, ErrDown or the
	// context's error.
	Ping(ctx context.Context) error
}

var (
	// ErrUnknown says that the directory answers and has no such person.
	ErrUnknown = errors.New("directory: no such person")

	// ErrDown says that no server gave a usable answer: unreachable, silent,
	// or refusing our own account. Its text carries the cause for the operator.
	ErrDown = errors.New("directory: unavailable")
)

const (
	defaultFound = 20
	maxFound     = 100
)

// limit is how many people the query may return.
func (q Query) limit() int {
	if q.Limit <= 0 {
		return defaultFound
	}
	return min(q.Limit, maxFound)
}
