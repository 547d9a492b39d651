package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// Errors of the registry that a command answers differently.
var (
	ErrUnknownClient = errors.New("no such application")
	ErrClientExists  = errors.New("an application with this id exists")
	ErrClientFixed   = errors.New("the application stands in the configuration file: change it there")
)

// How old the copy of the registry in memory may be: after fresh it is renewed
// by one of the requests, after stale every request waits for that.
const (
	clientsFresh = time.Second
	clientsStale = 4 * time.Second
)

// Clients is the registry: the configuration file's applications, which only
// the file changes, and the database's. Reading costs no query per request; a
// change made by a command on any machine is seen within seconds.
type Clients struct {
	db        *db.DB
	audit     *audit.Log
	now       func() time.Time
	assurance int
	fixed     map[string]*Client

	current atomic.Pointer[clientSet]
	loading sync.Mutex
}

type clientSet struct {
	byID     map[string]*Client
	audience map[string]*Client
	scopes   map[string]bool // known to the provider or to any application
	loaded   time.Time
}

// Entry is an application and where it comes from.
type Entry struct {
	Client
	FromFile bool      `json:"from_file"`
	Created  time.Time `json:"created,omitzero"`
	Changed  time.Time `json:"changed,omitzero"`

	Secrets []SecretState `json:"secrets"` // those that live now

	// Of an application that registered itself: by which invitation ("" where
	// none was needed), until when it may live, whether it may change itself.
	Registered bool      `json:"registered,omitempty"`
	Invite     string    `json:"invite,omitempty"`
	Ends       time.Time `json:"ends,omitzero"`

	raw      Client // as stored, without defaults: what a change starts from
	document string
}

// OpenClients reads the registry. Every mistake of the file's applications is
// returned at once, among them an ID that the database has too. assurance is
// asked of applications that ask nothing themselves.
func OpenClients(ctx context.Context, d *db.DB, a *audit.Log, file []Client, assurance int, now func() time.Time) (*Clients, error) {
	c := &Clients{db: d, audit: a, now: now, assurance: assurance, fixed: map[string]*Client{}}
	var all []error
	var err error
	owners := map[string][]string{}
	owns := func(c Client) {
		for _, name := range c.names() {
			if !slices.Contains(owners[name], c.ID) {
				owners[name] = append(owners[name], c.ID)
			}
		}
	}
	for _, one := range file {
		all = append(all, one.Validate()...)
		if one.SecretFile != "" {
			text, err := os.ReadFile(one.SecretFile)
			switch s := strings.TrimSpace(string(text)); {
			case err != nil:
				all = append(all, fmt.Errorf("application %q: secret_file: %w", one.ID, err))
			case len(s) < 16:
				all = append(all, fmt.Errorf("application %q: secret_file: shorter than 16 characters", one.ID))
			default:
				one.SecretHashes = append(slices.Clone(one.SecretHashes), secret.Hash(s))
			}
		}
		if one.JWKSFile != "" {
			if one.JWKS, err = jwksOf(one.JWKSFile); err != nil {
				all = append(all, fmt.Errorf("application %q: jwks_file: %w", one.ID, err))
			}
		}
		one.AssertionIssuers = slices.Clone(one.AssertionIssuers)
		for i := range one.AssertionIssuers {
			if one.AssertionIssuers[i].JWKS, err = jwksOf(one.AssertionIssuers[i].JWKSFile); err != nil {
				all = append(all, fmt.Errorf("application %q: assertion_issuers[%d].jwks_file: %w", one.ID, i, err))
			}
		}
		if c.fixed[one.ID] != nil {
			all = append(all, fmt.Errorf("application %q: id: stands twice in the configuration file", one.ID))
		}
		one = one.withDefaults(assurance)
		c.fixed[one.ID] = &one
		owns(one)
	}
	stored, err := c.stored(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range stored {
		if c.fixed[e.ID] != nil {
			all = append(all, fmt.Errorf("application %q: id: stands in the configuration file and in the database; remove one", e.ID))
		}
		owns(e.Client)
	}
	for name, ids := range owners {
		if len(ids) > 1 {
			all = append(all, fmt.Errorf("applications %s: audience or resources: %q belongs to one application only", strings.Join(ids, ", "), name))
		}
	}
	if err := errors.Join(all...); err != nil {
		return nil, err
	}
	c.current.Store(c.assemble(stored))
	return c, nil
}

// jwksOf reads a file of public keys; none, no keys.
func jwksOf(file string) (json.RawMessage, error) {
	if file == "" {
		return nil, nil
	}
	set, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if _, err := parseKeys(set); err != nil {
		return nil, err
	}
	return set, nil
}

const clientColumns = "document, secrets, created, changed, former, former_ends, secret_made, registration, invite, policy, ends"

// scan reads one application of the database.
func (c *Clients) scan(scan func(...any) error) (Entry, error) {
	var e Entry
	var secrets, policy string
	var created, changed, formerEnds, made, ends db.Time
	if err := scan(&e.document, &secrets, &created, &changed, &e.secrets.former, &formerEnds, &made, &e.registration.by, &e.registration.invite, &policy, &ends); err != nil {
		return e, err
	}
	if err := json.Unmarshal([]byte(e.document), &e.Client); err != nil {
		return e, fmt.Errorf("stored application: %w", err)
	}
	if err := json.Unmarshal([]byte(secrets), &e.SecretHashes); err != nil {
		return e, fmt.Errorf("secrets of application %s: %w", e.ID, err)
	}
	if policy != "" {
		if err := json.Unmarshal([]byte(policy), &e.registration.policy); err != nil {
			return e, fmt.Errorf("policy of application %s: %w", e.ID, err)
		}
	}
	e.registration.ends, e.secrets.formerEnds, e.secrets.made = ends.Time, formerEnds.Time, made.Time
	if made.IsZero() {
		e.secrets.made = created.Time
	}
	e.raw = e.Client
	e.Client, e.Created, e.Changed = e.withDefaults(c.assurance), created.Time, changed.Time
	return e, nil
}

// stored reads the applications of the database.
func (c *Clients) stored(ctx context.Context) ([]Entry, error) {
	all, err := db.All(ctx, c.db, c.scan, "SELECT "+clientColumns+" FROM oidc_client ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("read applications: %w", err)
	}
	return all, nil
}

// storedOne reads one application of the database as it stands now.
func (c *Clients) storedOne(ctx context.Context, id string) (Entry, error) {
	e, err := c.scan(c.db.QueryRow(ctx, "SELECT "+clientColumns+" FROM oidc_client WHERE id = $1", id).Scan)
	if errors.Is(err, db.ErrNotFound) {
		return e, fmt.Errorf("%s: %w", id, ErrUnknownClient)
	}
	if err != nil {
		return e, fmt.Errorf("read application %s: %w", id, err)
	}
	return e, nil
}

func (c *Clients) assemble(stored []Entry) *clientSet {
	set := &clientSet{byID: map[string]*Client{}, audience: map[string]*Client{}, scopes: map[string]bool{}, loaded: c.now()}
	for i := range stored {
		set.byID[stored[i].ID] = &stored[i].Client
	}
	for id, one := range c.fixed {
		set.byID[id] = one // added elsewhere under an ID of this file: the file wins
	}
	for _, s := range knownScopes {
		set.scopes[s] = true
	}
	for _, one := range set.byID {
		if one.Audience != "" {
			set.audience[one.Audience] = one
		}
		for _, s := range one.Scopes {
			set.scopes[s] = true
		}
	}
	return set
}

// snapshot returns the registry as it was at most clientsStale ago.
func (c *Clients) snapshot(ctx context.Context) (*clientSet, error) {
	set := c.current.Load()
	age := c.now().Sub(set.loaded)
	// Never waited for inside a transaction: the request that reads may need the
	// connection that this one holds. It was looked at before the transaction.
	if age < clientsFresh || c.db.InTransaction(ctx) {
		return set, nil
	}
	if age < clientsStale {
		if !c.loading.TryLock() {
			return set, nil // another request is at it
		}
	} else {
		c.loading.Lock()
	}
	defer c.loading.Unlock()
	if set = c.current.Load(); c.now().Sub(set.loaded) < clientsFresh {
		return set, nil
	}
	// A visitor who leaves must not make the next ones wait again.
	stored, err := c.stored(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	set = c.assemble(stored)
	c.current.Store(set)
	return set, nil
}

// Get returns one application, or ErrUnknownClient. Do not change it.
func (c *Clients) Get(ctx context.Context, id string) (*Client, error) {
	set, err := c.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	one := set.byID[id]
	if one == nil && strings.HasPrefix(id, registeredPrefix) {
		// It comes a moment after it registered itself, perhaps at another replica.
		e, err := c.storedOne(ctx, id)
		if err != nil && !errors.Is(err, ErrUnknownClient) {
			return nil, err
		}
		if err == nil {
			one = &e.Client
		}
	}
	if one == nil || one.ended(c.now()) {
		return nil, ErrUnknownClient
	}
	return one, nil
}

// resource returns the application that is the named audience.
func (c *Clients) resource(ctx context.Context, audience string) (*Client, error) {
	set, err := c.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if one := set.audience[audience]; one != nil && audience != "" && !one.ended(c.now()) {
		return one, nil
	}
	return nil, ErrUnknownClient
}

// List returns every application as it stands now, by ID.
func (c *Clients) List(ctx context.Context) ([]Entry, error) {
	all, err := c.stored(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range c.fixed {
		all = append(all, Entry{Client: *one, FromFile: true})
	}
	now := c.now()
	for i := range all {
		all[i].Secrets = all[i].secretStates(now)
		all[i].Registered, all[i].Invite, all[i].Ends = all[i].registration.by != "", all[i].registration.invite, all[i].registration.ends
	}
	sort.Slice(all, func(i, j int) bool { return all[i].ID < all[j].ID })
	return all, nil
}
