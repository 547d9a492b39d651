package oidc

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ory/fosite"

	"beffroi/internal/audit"
	"beffroi/internal/secret"
)

// Registration by applications themselves (RFC 7591, RFC 7592, OpenID Connect
// Dynamic Client Registration 1.0). Closed unless the configuration opens it.
// An invitation (initial access token) or the configuration says what such an
// application may be; its document says the rest, and nothing else of it is
// read. The token to manage a registration is renewed at each change, the
// secret is shown when it is made and never again, and an application that the
// operator has changed by command manages itself no longer.

// prefixes of the two tokens of registration.
const (
	prefixInvite = "bfi_"
	prefixManage = "bfm_"
)

var errRegistrationClosed = &fosite.RFC6749Error{ErrorField: "access_denied", DescriptionField: "applications do not register themselves here: ask the operator", CodeField: http.StatusForbidden}

// register is POST /oauth2/register.
func (p *Provider) register(w http.ResponseWriter, r *http.Request) error {
	answer, err := p.registerClient(r)
	if err != nil {
		return p.writeRegistrationError(w, err)
	}
	return writeJSON(w, http.StatusCreated, answer)
}

func (p *Provider) registerClient(r *http.Request) (map[string]any, error) {
	ctx, cfg := r.Context(), p.cfg.Registration
	if cfg.Mode == RegistrationClosed {
		return nil, errRegistrationClosed
	}
	if err := p.fewEnough(ctx, "register", registrationMost); err != nil {
		return nil, err
	}
	token, err := bearerHeader(r)
	if err != nil {
		return nil, err
	}
	policy, invite := cfg.RegistrationPolicy, ""
	if cfg.Mode == RegistrationToken || token != "" {
		found, err := p.clients.inviteOf(ctx, token)
		if errors.Is(err, ErrUnknownInvite) {
			p.refuse(ctx, nil, audit.Event{Action: "oidc.register", Detail: map[string]string{"reason": "invite"}})
			return nil, errInvalidToken
		}
		if err != nil {
			return nil, err
		}
		policy, invite = found.Policy.withDefaults(), found.ID
	}
	m, err := p.readDocument(r)
	if err != nil {
		return nil, err
	}
	c := Client{ID: registeredPrefix + secret.Random()[:22], Groups: policy.Groups, Assurance: policy.Assurance, Consent: policy.Consent, PKCEWaived: policy.PKCEWaived}
	if c, err = p.applyDocument(ctx, m, c, policy); err != nil {
		return nil, err
	}
	made, err := p.clients.register(ctx, c, invite, policy, cfg.Most)
	switch {
	case errors.Is(err, ErrUnknownInvite):
		return nil, errInvalidToken // used up meanwhile
	case errors.Is(err, errRegistrationFull):
		p.refuse(ctx, nil, audit.Event{Action: "oidc.register", Detail: map[string]string{"reason": "full"}})
		return nil, refused(errRegistrationClosed, "as many applications as may be have registered themselves")
	case err != nil:
		return nil, err
	}
	p.log.InfoContext(ctx, "application registered itself", "application", made.entry.ID, "name", made.entry.Name["en"], "invite", invite)
	return p.describeRegistration(made), nil
}

// manage is GET, PUT and DELETE /oauth2/register/{id} (RFC 7592 §2).
func (p *Provider) manage(w http.ResponseWriter, r *http.Request) error {
	answer, err := p.manageClient(r)
	if err != nil {
		return p.writeRegistrationError(w, err)
	}
	if answer == nil {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return writeJSON(w, http.StatusOK, answer)
}

func (p *Provider) manageClient(r *http.Request) (map[string]any, error) {
	ctx := r.Context()
	if p.cfg.Registration.Mode == RegistrationClosed {
		return nil, errRegistrationClosed
	}
	token, err := bearerHeader(r)
	if err != nil {
		return nil, err
	}
	found, err := p.clients.registered(ctx, r.PathValue("id"), token)
	if errors.Is(err, ErrUnknownClient) {
		p.refuse(ctx, nil, audit.Event{Action: "oidc.register", Application: r.PathValue("id"), Detail: map[string]string{"reason": "token"}})
		return nil, errInvalidToken // one answer, whether or not there is such an application (RFC 7592 §2)
	}
	if err != nil {
		return nil, err
	}
	actor := audit.Application(found.ID)
	switch r.Method {
	case http.MethodDelete:
		return nil, p.clients.Remove(ctx, actor, found.ID)
	case http.MethodPut:
		if err := p.fewEnough(ctx, "register", registrationMost); err != nil {
			return nil, err
		}
		m, err := p.readDocument(r)
		if err != nil {
			return nil, err
		}
		if err := m.checkUpdate(found, p.now); err != nil {
			return nil, err
		}
		c, err := p.applyDocument(ctx, m, found.raw, found.registration.policy)
		if err != nil {
			return nil, err
		}
		made, err := p.clients.reregister(ctx, actor, found, c, token)
		if errors.Is(err, ErrUnknownClient) {
			return nil, errInvalidToken // another change was faster
		}
		if err != nil {
			return nil, err
		}
		return p.describeRegistration(made), nil
	}
	return p.describeRegistration(registered{entry: found, token: token}), nil
}

// readDocument reads the body: a bounded JSON object, sent as one.
func (p *Provider) readDocument(r *http.Request) (*metadata, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, refused(errMetadata, "the body must be application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, metadataMost+1))
	if err != nil {
		return nil, err
	}
	if len(body) > metadataMost {
		return nil, &http.MaxBytesError{Limit: metadataMost}
	}
	return parseMetadata(body)
}

// applyDocument is m.apply, and what needs the world to be checked.
func (p *Provider) applyDocument(ctx context.Context, m *metadata, c Client, policy RegistrationPolicy) (Client, error) {
	c, err := m.apply(c, policy)
	if err != nil {
		return c, err
	}
	// A stranger must not make this server knock at its own doors. On a machine
	// that is a trial of itself, the application is there too.
	if issuer, err := url.Parse(p.cfg.Issuer); err != nil || !isLoopback(issuer.Hostname()) {
		for _, uri := range append(c.RequestURIs, c.JWKSURI, c.SectorURI, c.BackchannelLogout) {
			if isLoopback(hostOf(uri)) {
				return c, refused(errMetadata, "%s is on this machine itself", uri)
			}
		}
	}
	return c, p.checkSector(ctx, &c, policy)
}

// checkUpdate is RFC 7592 §2.2: the document names the application, may repeat
// its secret, and does not try to set what the provider sets.
func (m *metadata) checkUpdate(found Entry, now func() time.Time) error {
	for _, name := range []string{"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"} {
		if m.doc[name] != nil {
			return refused(errMetadata, "%s may not stand in a change", name)
		}
	}
	if m.text("client_id") != found.ID {
		return refused(errMetadata, "client_id must be the one of the registration")
	}
	if given := m.text("client_secret"); given != "" && !secretMatches(found.liveSecrets(now()), given) {
		return refused(errMetadata, "client_secret is not the one of the registration; leave it out")
	}
	return m.err
}

// describeRegistration is the client information response (RFC 7591 §3.2.1).
// The secret is in it when it was made just now, and never after. The token is
// the new one, or the one that the request itself has brought.
func (p *Provider) describeRegistration(r registered) map[string]any {
	c := &r.entry.Client
	doc := metadataOf(c)
	doc["client_id_issued_at"] = r.entry.Created.Unix()
	doc["registration_client_uri"] = p.cfg.Issuer + "/oauth2/register/" + c.ID
	doc["registration_access_token"] = r.token
	if len(c.SecretHashes) > 0 {
		doc["client_secret_expires_at"] = int64(0)
		if !c.registration.ends.IsZero() {
			doc["client_secret_expires_at"] = c.registration.ends.Unix()
		}
	}
	if r.secret != "" {
		doc["client_secret"] = r.secret
	}
	return doc
}

// bearerHeader is the token of the Authorization header; "" when there is none.
func bearerHeader(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", nil
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", errInvalidToken
	}
	return strings.TrimSpace(token), nil
}

// writeRegistrationError answers a refusal; for a token, as RFC 6750 §3 has it.
func (p *Provider) writeRegistrationError(w http.ResponseWriter, err error) error {
	if errors.Is(err, errInvalidToken) {
		return p.writeBearerError(w, err)
	}
	return p.writeError(w, err)
}
