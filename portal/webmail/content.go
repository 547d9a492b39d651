package webmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"time"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/portal"
)

// What strangers wrote is shown on an origin of its own, where one is configured:
// a document that broke out of its sandbox would find there no session, no page
// and no cookie of the portal. A page of the portal gives the browser an address
// that is sealed: it names the session, the message and the moment when it ends,
// and only this server can have made it. The origin answers to nothing else.

// ticketLife is how long a page may take to ask for what it shows.
const ticketLife = 10 * time.Minute

// ticket is what a sealed address says.
type ticket struct {
	SID      string `json:"s"`           // portal session
	Message  string `json:"m"`           // path: /mail/BOX/KEY
	Section  string `json:"c,omitempty"` // the part to look at; empty: the text
	Picture  string `json:"i,omitempty"` // the remote picture of the message to fetch
	Pictures bool   `json:"r,omitempty"` // remote pictures are shown
	Print    bool   `json:"p,omitempty"` // with what stands around it, to be printed
	Lang     string `json:"l"`
	Ends     int64  `json:"e"` // Unix seconds
}

// Kinds of sealed addresses: an address of one opens no other.
const (
	aDocument = "document"
	aPart     = "part"
	aPicture  = "picture"
)

var errTicket = errors.New("webmail: no address of ours, or no longer")

func (s *service) apart() bool { return s.contentOrigin != "" }

// sealedAddress is the address of what a ticket names.
func (s *service) sealedAddress(ctx context.Context, kind string, t ticket) (string, error) {
	if t.SID == "" {
		t.SID = s.session(ctx)
	}
	if t.Lang == "" {
		t.Lang = string(web.Lang(ctx))
	}
	if t.Ends == 0 {
		t.Ends = s.now().Add(ticketLife).Unix()
	}
	text, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	return s.contentOrigin + "/" + kind + "/" + s.sealer.Seal("webmail."+kind, string(text)), nil
}

// unsealAddress opens an address and steps into the session that it names. errTicket
// when it is not ours or over, portal.ErrSignedOut when the session is.
func (s *service) unsealAddress(r *http.Request, kind string) (context.Context, ticket, error) {
	var t ticket
	text, err := s.sealer.Open("webmail."+kind, r.PathValue("ticket"))
	if err != nil {
		return nil, t, errTicket
	}
	if err := json.Unmarshal([]byte(text), &t); err != nil || !s.now().Before(time.Unix(t.Ends, 0)) {
		return nil, t, errTicket
	}
	ctx, err := s.host.As(web.WithLang(r.Context(), i18n.Lang(t.Lang)), t.SID)
	return ctx, t, err
}

// Content adds the routes of the origin of strangers' documents. It has no other.
func (m *Module) Content(site *web.Site, mux web.Mux) {
	s := m.s
	page := func(kind string, h func(http.ResponseWriter, *http.Request, ticket) error) {
		mux.Handle("GET /"+kind+"/{ticket}", site.API(func(w http.ResponseWriter, r *http.Request) error {
			ctx, t, err := s.unsealAddress(r, kind)
			if err == nil {
				err = h(w, r.WithContext(ctx), t)
			}
			if err != nil {
				return s.contentProblem(w, r, t, kind, err)
			}
			return nil
		}))
	}
	page(aDocument, s.contentDocument)
	page(aPart, s.contentPart)
	page(aPicture, s.contentPicture)
}

// contentProblem says in the frame what the page around it cannot.
func (s *service) contentProblem(w http.ResponseWriter, r *http.Request, t ticket, kind string, err error) error {
	e := &web.Error{Status: http.StatusBadGateway, Key: "webmail.error.down", Err: err}
	switch {
	case errors.Is(err, errTicket), errors.Is(err, portal.ErrSignedOut), errors.Is(err, portal.ErrRefused):
		e.Status, e.Key = http.StatusGone, "webmail.content.over"
	case errors.Is(err, portal.ErrUnavailable):
		e.Status, e.Key = http.StatusServiceUnavailable, "portal.unavailable"
	default:
		var said *web.Error
		if errors.As(failure(err), &said) {
			e = said
		}
	}
	s.log.InfoContext(r.Context(), "nothing shown of a message", "kind", kind, "status", e.Status, "reason", err)
	if kind == aPicture { // nobody reads what stands in the place of a picture
		w.WriteHeader(e.Status)
		return nil
	}
	l := i18n.Lang(t.Lang)
	if l != i18n.English {
		l = i18n.French
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors "+s.portalOrigin)
	w.WriteHeader(e.Status)
	_, err = fmt.Fprintf(w, `<!doctype html><html lang="%s"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>–</title><style>%s</style></head><body><p>%s</p></body></html>`,
		l, contentStyle(), html.EscapeString(i18n.T(l, e.Key, e.Args...)))
	return err
}

// contentDocument shows the HTML of a message.
func (s *service) contentDocument(w http.ResponseWriter, r *http.Request, t ticket) error {
	at, err := parsePath(t.Message)
	if err != nil {
		return err
	}
	return s.writeDocument(w, r, at, t.Pictures, t.Print)
}

// contentPart shows an attachment that browsers show by themselves.
func (s *service) contentPart(w http.ResponseWriter, r *http.Request, t ticket) error {
	at, err := parsePath(t.Message)
	if err != nil {
		return err
	}
	return s.writePart(w, r, at, t.Section, true)
}

// away sends the browser to what stands on the other origin.
func (s *service) away(w http.ResponseWriter, r *http.Request, kind string, t ticket) error {
	address, err := s.sealedAddress(r.Context(), kind, t)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return web.Redirect(w, r, address)
}

// originOf is a configured origin as a policy writes it.
func originOf(address string) (string, error) {
	address = strings.TrimRight(address, "/")
	if address == "" {
		return "", nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" {
		return "", fmt.Errorf("%q is no origin", address)
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}
