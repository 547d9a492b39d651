package mfa

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

var (
	// ErrNoPasskeys says that this provider takes no passkeys: its address is a
	// number, or UsePasskeys was not called.
	ErrNoPasskeys = errors.New("mfa: no passkeys at this address")
	// ErrKnownPasskey says that this authenticator is a factor of the person already.
	ErrKnownPasskey = errors.New("mfa: this passkey is registered already")
	// ErrModel says that an authenticator is not of a model that may be used, or
	// does not prove that it is.
	ErrModel = errors.New("mfa: this model may not be used")
	// ErrTooMany says that the person holds as many passkeys as anybody may.
	ErrTooMany = errors.New("mfa: too many passkeys")
)

const (
	maxPasskeys   = 20
	passkeyTime   = 3 * time.Minute  // for a dialogue of the browser
	passkeyWait   = 15 * time.Minute // for one that waits in the name field
	passkeyAnswer = 64 << 10         // bytes; an attestation with its certificates is a few KiB
)

// What a challenge was made for: the answer to one is no answer to another.
const (
	useEnrol  = "enrol"
	useFactor = "factor"
	useSignIn = "signin"
)

// passkeys is what UsePasskeys prepares.
type passkeys struct {
	web      *webauthn.WebAuthn
	config   PasskeyConfig
	attested *roots
}

// UsePasskeys lets people use passkeys at this origin ("https://id.example.fr"),
// before serving. A passkey answers to the host of the origin for good: where
// it is an IP address there are none, and that is no error.
func (s *Service) UsePasskeys(origin string, c PasskeyConfig) error {
	host, origins, err := c.origins(origin)
	if err != nil {
		return err
	}
	if host == "" {
		return nil
	}
	attested, err := c.roots()
	if err != nil {
		return err
	}
	timeout := webauthn.TimeoutConfig{Enforce: true, Timeout: passkeyTime, TimeoutUVD: passkeyTime}
	web, err := webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: s.issuer, RPOrigins: origins,
		AttestationPreference: protocol.ConveyancePreference(c.attestation()),
		Timeouts:              webauthn.TimeoutsConfig{Login: timeout, Registration: timeout},
	})
	if err != nil {
		return fmt.Errorf("passkeys: %w", err)
	}
	s.passkeys = &passkeys{web: web, config: c, attested: attested}
	return nil
}

// Passkeys tells whether passkeys can be used here.
func (s *Service) Passkeys() bool { return s.passkeys != nil }

// passkeyKind is how a passkey is counted, listed and removed.
func passkeyKind() kind {
	return kind{
		tables: []string{"mfa_passkey", "mfa_passkey_challenge"},
		held:   "SELECT 'passkey' AS method FROM mfa_passkey WHERE person = $1 AND CAST($2 AS BIGINT) IS NOT NULL",
		named:  "mfa_passkey",
		list: func(s *Service, ctx context.Context, person string) ([]Factor, error) {
			rows, err := s.passkeysOf(ctx, person)
			list := make([]Factor, len(rows))
			for i, r := range rows {
				list[i] = r.factor()
			}
			return list, err
		},
		remove: func(s *Service, ctx context.Context, person, id string) (Factor, error) {
			r := passkeyRow{id: id}
			err := s.db.QueryRow(ctx, "DELETE FROM mfa_passkey WHERE person = $1 AND id = $2 RETURNING name, aaguid, created, used", person, id).
				Scan(&r.name, &r.aaguid, &r.created, &r.used)
			return r.factor(), err
		},
	}
}

// passkeyRow is a passkey as it rests.
type passkeyRow struct {
	id, person, name, aaguid string
	attested                 bool
	record                   webauthn.Credential
	created, used            db.Time
}

func (r passkeyRow) factor() Factor {
	return Factor{ID: r.id, Kind: Passkey, Name: r.name, Detail: ModelName(r.aaguid), Created: r.created.Time, Used: r.used.Time}
}

const passkeyColumns = "id, person, name, aaguid, attested, record, created, used"

func scanPasskey(scan func(...any) error) (r passkeyRow, err error) {
	var record string
	if err = scan(&r.id, &r.person, &r.name, &r.aaguid, &r.attested, &record, &r.created, &r.used); err == nil {
		err = json.Unmarshal([]byte(record), &r.record)
	}
	return r, err
}

func (s *Service) passkeysOf(ctx context.Context, person string) ([]passkeyRow, error) {
	return db.All(ctx, s.db, scanPasskey, "SELECT "+passkeyColumns+" FROM mfa_passkey WHERE person = $1 ORDER BY created, id", person)
}

// passkeyUser is a person as WebAuthn sees one.
type passkeyUser struct {
	handle        []byte
	login, called string
	rows          []passkeyRow
}

func (u *passkeyUser) WebAuthnID() []byte          { return u.handle }
func (u *passkeyUser) WebAuthnName() string        { return u.login }
func (u *passkeyUser) WebAuthnDisplayName() string { return u.called }
func (u *passkeyUser) WebAuthnCredentials() []webauthn.Credential {
	all := make([]webauthn.Credential, len(u.rows))
	for i, r := range u.rows {
		all[i] = r.record
	}
	return all
}

// passkeyUser loads the person's handle, made at its first use, and passkeys.
func (s *Service) passkeyUser(ctx context.Context, person string) (*passkeyUser, error) {
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	var handle string
	err := s.db.QueryRow(ctx, `INSERT INTO mfa_passkey_user (person, handle) VALUES ($1, $2)
		ON CONFLICT (person) DO UPDATE SET person = excluded.person RETURNING handle`, person, encode(raw[:])).Scan(&handle)
	if err != nil {
		return nil, fmt.Errorf("passkey handle of %s: %w", person, err)
	}
	u := &passkeyUser{}
	if u.handle, err = base64.RawURLEncoding.DecodeString(handle); err != nil {
		return nil, fmt.Errorf("passkey handle of %s: %w", person, err)
	}
	if u.rows, err = s.passkeysOf(ctx, person); err != nil {
		return nil, fmt.Errorf("passkeys of %s: %w", person, err)
	}
	return u, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// wait keeps a challenge until its answer comes: one for each attempt and use,
// the latest.
func (s *Service) wait(ctx context.Context, attempt, use, person string, session *webauthn.SessionData, life time.Duration) error {
	text, err := json.Marshal(session)
	if err != nil {
		return fmt.Errorf("keep challenge: %w", err)
	}
	_, err = s.db.Exec(ctx, `INSERT INTO mfa_passkey_challenge (attempt, use, person, session, expires) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (attempt, use) DO UPDATE SET person = excluded.person, session = excluded.session, expires = excluded.expires`,
		attempt, use, person, string(text), db.At(s.now().Add(life)))
	if err != nil {
		return fmt.Errorf("keep challenge: %w", err)
	}
	return nil
}

// take gives a challenge to the one answer that may use it, right or wrong:
// db.ErrNotFound for every other. Not to be called in a transaction, which would
// bring the challenge back for a second guess.
func (s *Service) take(ctx context.Context, attempt, use, person string) (session webauthn.SessionData, err error) {
	var text string
	err = s.db.QueryRow(ctx, "DELETE FROM mfa_passkey_challenge WHERE attempt = $1 AND use = $2 AND person = $3 AND expires > $4 RETURNING session",
		attempt, use, person, db.At(s.now())).Scan(&text)
	if err == nil {
		err = json.Unmarshal([]byte(text), &session)
	}
	return session, err
}

// Enrolling is who enrols a passkey, where, and what it must be.
type Enrolling struct {
	Person  string
	Attempt string // a flow or a session: the answer must come to the same
	Login   string // as the authenticator shows the account
	Name    string
	Models  []string // AAGUIDs of which one must be attested, beside the configuration's; empty: any
	First   bool     // the person has proven no other factor: refused when there is one
	Actor   audit.Actor
}

// BeginPasskey returns the options for navigator.credentials.create, as JSON.
func (s *Service) BeginPasskey(ctx context.Context, e Enrolling) (json.RawMessage, error) {
	if s.passkeys == nil {
		return nil, ErrNoPasskeys
	}
	user, err := s.passkeyUser(ctx, e.Person)
	if err != nil {
		return nil, err
	}
	if len(user.rows) >= maxPasskeys {
		return nil, ErrTooMany
	}
	user.login, user.called = e.Login, e.Name
	// Discoverable where the authenticator can: that is what signs in without a
	// password. An older key still becomes a second factor.
	creation, session, err := s.passkeys.web.BeginRegistration(user,
		webauthn.WithAuthenticatorSelection(protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementPreferred, UserVerification: protocol.VerificationPreferred}),
		webauthn.WithExclusions(webauthn.Credentials(user.WebAuthnCredentials()).CredentialDescriptors()),
		webauthn.WithCredentialParameters(webauthn.CredentialParametersRecommendedL3()),
		webauthn.WithExtensions(webauthn.WithExtensionCredProps()))
	if err != nil {
		return nil, fmt.Errorf("begin passkey of %s: %w", e.Person, err)
	}
	if err := s.wait(ctx, e.Attempt, useEnrol, e.Person, session, passkeyTime); err != nil {
		return nil, err
	}
	return json.Marshal(creation.Response)
}

// CheckedPasskey is a passkey that was found right and is not added yet.
type CheckedPasskey struct {
	enrolling  Enrolling
	credential *webauthn.Credential
	aaguid     string
	attested   bool
}

// Model is the AAGUID that the passkey's maker vouched for; empty when nobody did.
func (c *CheckedPasskey) Model() string {
	if !c.attested {
		return ""
	}
	return c.aaguid
}

// CheckNewPasskey looks at the browser's answer (JSON) to BeginPasskey, once,
// outside any transaction: ErrNotPending, ErrWrongCode, ErrModel, ErrNoPasskeys.
func (s *Service) CheckNewPasskey(ctx context.Context, e Enrolling, answer string) (*CheckedPasskey, error) {
	if s.passkeys == nil {
		return nil, ErrNoPasskeys
	}
	session, err := s.take(ctx, e.Attempt, useEnrol, e.Person)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrNotPending
	}
	if err != nil {
		return nil, fmt.Errorf("enrol passkey of %s: %w", e.Person, err)
	}
	user, err := s.passkeyUser(ctx, e.Person)
	if err != nil {
		return nil, err
	}
	if len(answer) > passkeyAnswer {
		return nil, ErrWrongCode
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil || !s.passkeys.exactOrigin(parsed.Response.CollectedClientData) {
		return nil, wrongPasskey(err)
	}
	credential, err := s.passkeys.web.CreateCredential(user, session, parsed)
	if err != nil {
		return nil, wrongPasskey(err)
	}
	id, err := uuid.FromBytes(credential.Authenticator.AAGUID)
	if err != nil {
		return nil, wrongPasskey(err)
	}
	checked := &CheckedPasskey{enrolling: e, credential: credential, aaguid: id.String()}
	checked.attested = s.passkeys.attested.vouch(parsed.Response.AttestationObject, s.now())
	if !allowed(s.passkeys.config.AAGUIDs, checked.aaguid, checked.attested) || !allowed(e.Models, checked.aaguid, checked.attested) {
		return nil, ErrModel
	}
	return checked, nil
}

// exactOrigin holds the origin to the letter: the library compares it as an
// address, where much may be written in several ways.
func (p *passkeys) exactOrigin(c protocol.CollectedClientData) bool {
	return slices.Contains(p.web.Config.RPOrigins, c.Origin)
}

// wrongPasskey keeps the library's reason for the log.
func wrongPasskey(err error) error {
	var detailed *protocol.Error
	if errors.As(err, &detailed) {
		return fmt.Errorf("%w: %s: %s", ErrWrongCode, detailed.Details, detailed.DevInfo)
	}
	if err == nil {
		return fmt.Errorf("%w: origin", ErrWrongCode)
	}
	return fmt.Errorf("%w: %w", ErrWrongCode, err)
}

// AddPasskey makes what was checked a factor of the person. It joins the
// caller's transaction. ErrKnownPasskey when the credential is somebody's
// already, ErrNotPending when a first factor is not the first any more.
func (s *Service) AddPasskey(ctx context.Context, c *CheckedPasskey) (f Factor, err error) {
	e := c.enrolling
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		// The handle's row is the person's lock: two enrolments at once follow one another.
		user, err := s.passkeyUser(ctx, e.Person)
		if err != nil {
			return err
		}
		if e.First {
			if n, err := s.Count(ctx, e.Person); err != nil || n > 0 {
				return errors.Join(err, ErrNotPending)
			}
		}
		if len(user.rows) >= maxPasskeys {
			return ErrTooMany
		}
		record, err := json.Marshal(c.credential)
		if err != nil {
			return fmt.Errorf("add passkey of %s: %w", e.Person, err)
		}
		f = Factor{ID: secret.Random()[:22], Kind: Passkey, Name: freeName(ModelName(c.aaguid), user.rows), Detail: ModelName(c.aaguid), Created: s.now()}
		n, err := s.db.Exec(ctx, `INSERT INTO mfa_passkey (id, person, credential, name, aaguid, attested, counter, record, created)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (credential) DO NOTHING`,
			f.ID, e.Person, encode(c.credential.ID), f.Name, c.aaguid, c.attested, int64(c.credential.Authenticator.SignCount), string(record), db.At(f.Created))
		if err != nil {
			return fmt.Errorf("add passkey of %s: %w", e.Person, err)
		}
		if n == 0 {
			return ErrKnownPasskey
		}
		if err := s.changed(ctx, Change{Actor: e.Actor, Person: e.Person, What: "added", Factor: f}); err != nil {
			return err
		}
		return s.audit.Record(ctx, e.Actor, audit.Event{Action: "mfa.enrol", Target: e.Person, Outcome: "ok",
			Detail: map[string]string{"kind": string(Passkey), "factor": f.ID, "aaguid": c.aaguid, "attested": fmt.Sprint(c.attested)}})
	})
	return f, err
}

// freeName is the model's name, numbered where the person has one of that name.
func freeName(model string, rows []passkeyRow) string {
	name := model
	for n := 2; model != "" && slices.ContainsFunc(rows, func(r passkeyRow) bool { return r.name == name }); n++ {
		name = fmt.Sprintf("%s (%d)", model, n)
	}
	return name
}

// AskPasskey returns the options for navigator.credentials.get, as JSON: any of
// the person's passkeys, as a second factor. ErrNoFactor when there is none.
func (s *Service) AskPasskey(ctx context.Context, person, attempt string) (json.RawMessage, error) {
	if s.passkeys == nil {
		return nil, ErrNoPasskeys
	}
	user, err := s.passkeyUser(ctx, person)
	if err != nil {
		return nil, err
	}
	if len(user.rows) == 0 {
		return nil, ErrNoFactor
	}
	assertion, session, err := s.passkeys.web.BeginLogin(user, webauthn.WithUserVerification(protocol.VerificationPreferred))
	if err != nil {
		return nil, fmt.Errorf("ask for a passkey of %s: %w", person, err)
	}
	if err := s.wait(ctx, attempt, useFactor, person, session, passkeyTime); err != nil {
		return nil, err
	}
	return json.Marshal(assertion.Response)
}

// AskAnyPasskey is AskPasskey before anybody is known: whoever answers is
// signed in without a password, so that the authenticator must know its owner.
// waiting: the request stands in the name field for as long as the page.
func (s *Service) AskAnyPasskey(ctx context.Context, attempt string, waiting bool) (json.RawMessage, error) {
	if s.passkeys == nil {
		return nil, ErrNoPasskeys
	}
	life := passkeyTime
	if waiting {
		life = passkeyWait
	}
	assertion, session, err := s.passkeys.web.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired),
		func(o *protocol.PublicKeyCredentialRequestOptions) error {
			o.Timeout = int(life / time.Millisecond)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("ask for a passkey: %w", err)
	}
	if err := s.wait(ctx, attempt, useSignIn, "", session, life); err != nil {
		return nil, err
	}
	return json.Marshal(assertion.Response)
}

// PasskeyUse is an answer that was found right and is not used yet.
type PasskeyUse struct {
	Person   string
	Factor   string // its ID
	AAGUID   string
	Attested bool // its maker vouched for the model when it was enrolled
	Verified bool // the authenticator knew its owner this time, by a PIN or a finger
	Synced   bool // it is kept by a provider of passkeys, and may be on several devices
	before   int64
	counter  int64
	record   string
}

// CheckPasskey looks at the browser's answer (JSON) to AskPasskey, or, for an
// empty person, to AskAnyPasskey; once, outside any transaction. ErrWrongCode
// for whatever is not right: a challenge that was used, is too old or somebody
// else's, a credential that nobody has, a signature, an origin. A counter that
// goes back is refused and written to the trail: there are two of it.
func (s *Service) CheckPasskey(ctx context.Context, person, attempt, answer string) (*PasskeyUse, error) {
	if s.passkeys == nil {
		return nil, ErrNoPasskeys
	}
	use := useFactor
	if person == "" {
		use = useSignIn
	}
	session, err := s.take(ctx, attempt, use, person)
	if errors.Is(err, db.ErrNotFound) {
		return nil, fmt.Errorf("%w: no challenge waits", ErrWrongCode)
	}
	if err != nil {
		return nil, fmt.Errorf("check passkey: %w", err)
	}
	if len(answer) > passkeyAnswer {
		return nil, ErrWrongCode
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil || !s.passkeys.exactOrigin(parsed.Response.CollectedClientData) {
		return nil, wrongPasskey(err)
	}
	row, err := s.passkeyBy(ctx, parsed.RawID)
	if errors.Is(err, db.ErrNotFound) || err == nil && person != "" && row.person != person {
		return nil, fmt.Errorf("%w: not a passkey of the person", ErrWrongCode)
	}
	if err != nil {
		return nil, err
	}
	user, err := s.passkeyUser(ctx, row.person)
	if err != nil {
		return nil, err
	}
	var credential *webauthn.Credential
	if person != "" {
		credential, err = s.passkeys.web.ValidateLogin(user, session, parsed)
	} else {
		// The library holds the user handle of the answer to the person's.
		_, credential, err = s.passkeys.web.ValidatePasskeyLogin(func([]byte, []byte) (webauthn.User, error) { return user, nil }, session, parsed)
	}
	if err != nil {
		return nil, wrongPasskey(err)
	}
	if credential.Authenticator.CloneWarning {
		s.audit.Refuse(ctx, audit.Anonymous(), audit.Event{Action: "mfa.clone", Target: row.person, Outcome: "refused",
			Detail: map[string]string{"factor": row.id, "counter": fmt.Sprint(parsed.Response.AuthenticatorData.Counter), "before": fmt.Sprint(row.record.Authenticator.SignCount)}})
		return nil, fmt.Errorf("%w: its counter went back", ErrWrongCode)
	}
	record, err := json.Marshal(credential)
	if err != nil {
		return nil, fmt.Errorf("check passkey: %w", err)
	}
	return &PasskeyUse{
		Person: row.person, Factor: row.id, AAGUID: row.aaguid, Attested: row.attested,
		// Of this answer: the record's flag stays true once it was (WebAuthn §7.2).
		Verified: parsed.Response.AuthenticatorData.Flags.HasUserVerified(), Synced: credential.Flags.BackupState,
		before: int64(row.record.Authenticator.SignCount), counter: int64(credential.Authenticator.SignCount), record: string(record),
	}, nil
}

func (s *Service) passkeyBy(ctx context.Context, credential []byte) (passkeyRow, error) {
	r, err := scanPasskey(s.db.QueryRow(ctx, "SELECT "+passkeyColumns+" FROM mfa_passkey WHERE credential = $1", encode(credential)).Scan)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return r, fmt.Errorf("find passkey: %w", err)
	}
	return r, err
}

// UsePasskey notes the use in the caller's transaction. ErrWrongCode when the
// passkey was removed meanwhile, or used by somebody whose counter is as far.
func (s *Service) UsePasskey(ctx context.Context, u *PasskeyUse) error {
	n, err := s.db.Exec(ctx, "UPDATE mfa_passkey SET counter = $1, record = $2, used = $3 WHERE id = $4 AND person = $5 AND counter = $6",
		u.counter, u.record, db.At(s.now()), u.Factor, u.Person, u.before)
	if err != nil {
		return fmt.Errorf("use passkey %s: %w", u.Factor, err)
	}
	if n == 0 {
		return ErrWrongCode
	}
	return nil
}

// Accepted names the person's passkeys as a browser's signal does
// (PublicKeyCredential.signalAllAcceptedCredentials), as JSON: those that were
// removed here stop being offered there. Nil where there are no passkeys.
func (s *Service) Accepted(ctx context.Context, person string) (json.RawMessage, error) {
	if s.passkeys == nil {
		return nil, nil
	}
	var handle string
	err := s.db.QueryRow(ctx, "SELECT handle FROM mfa_passkey_user WHERE person = $1", person).Scan(&handle)
	if errors.Is(err, db.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("passkeys of %s: %w", person, err)
	}
	ids, err := db.All(ctx, s.db, func(scan func(...any) error) (id string, err error) {
		err = scan(&id)
		return id, err
	}, "SELECT credential FROM mfa_passkey WHERE person = $1 ORDER BY credential", person)
	if err != nil {
		return nil, fmt.Errorf("passkeys of %s: %w", person, err)
	}
	if ids == nil {
		ids = []string{}
	}
	return json.Marshal(struct {
		RPID string   `json:"rpId"`
		User string   `json:"userId"`
		IDs  []string `json:"allAcceptedCredentialIds"`
	}{s.passkeys.web.Config.RPID, handle, ids})
}

// AttestedModels lists the AAGUIDs of the person's passkeys whose makers vouched
// for them.
func (s *Service) AttestedModels(ctx context.Context, person string) ([]string, error) {
	return db.All(ctx, s.db, func(scan func(...any) error) (id string, err error) {
		err = scan(&id)
		return id, err
	}, "SELECT DISTINCT aaguid FROM mfa_passkey WHERE person = $1 AND attested ORDER BY aaguid", person)
}
