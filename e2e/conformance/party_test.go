package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/testpeer"
)

// party is the relying party: an HTTPS server with everything that the suite's own one has. Its callback answers with what it
// received, so that a module learns it from the browser's page and modules never mix; what the provider fetches or posts by
// itself lies under names of one module's own.
type party struct {
	issuer string // of the provider that it speaks to
	base   string // its own origin
	client *http.Client

	mu        sync.Mutex
	documents map[string]document
	received  map[string][]call // by path
}

// document is what lies at an address of the party.
type document struct{ contentType, body string }

// call is a request as the party saw it.
type call struct {
	Method, Path, ContentType string
	Query, Form               url.Values
}

func newParty(t *testing.T, certificate testpeer.Certificate) *party {
	t.Helper()
	authority, err := os.ReadFile(certificate.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", testpeer.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	p := &party{
		base: "https://" + listener.Addr().String(), documents: map[string]document{}, received: map[string][]call{},
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 64}},
	}
	server := &http.Server{Handler: p}
	go server.ServeTLS(listener, certificate.CertFile, certificate.KeyFile)
	t.Cleanup(func() { server.Close() })
	return p
}

func (p *party) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	c := call{Method: r.Method, Path: r.URL.Path, ContentType: r.Header.Get("Content-Type"), Query: r.URL.Query()}
	c.Form, _ = url.ParseQuery(string(body))
	p.mu.Lock()
	p.received[r.URL.Path] = append(p.received[r.URL.Path], c)
	d, ok := p.documents[r.URL.Path]
	p.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case ok:
		w.Header().Set("Content-Type", d.contentType)
		io.WriteString(w, d.body)
	case strings.HasPrefix(r.URL.Path, "/callback"), strings.HasPrefix(r.URL.Path, "/post_logout_redirect"), strings.HasPrefix(r.URL.Path, "/frontchannel_logout"):
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(c)
	case strings.HasPrefix(r.URL.Path, "/backchannel_logout"):
	default:
		http.NotFound(w, r)
	}
}

// publish puts a document at a path and gives its address.
func (p *party) publish(path, contentType, body string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.documents[path] = document{contentType, body}
	return p.base + path
}

// calls are the requests that came to a path.
func (p *party) calls(path string) []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]call(nil), p.received[path]...)
}

// response is an answer of the provider to a machine.
type response struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any // nil when the body is no JSON object
}

func (r *response) String() string {
	return fmt.Sprintf("%d %s %.500s", r.status, r.header.Get("Content-Type"), r.body)
}

// text is a member of the answer that is a string, "" otherwise.
func (r *response) text(member string) string { s, _ := r.json[member].(string); return s }

// do sends a request to the provider and reads the answer.
func (m *module) do(r *http.Request) *response {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.Context(), 30*time.Second)
	defer cancel()
	answer, err := m.party.client.Do(r.WithContext(ctx))
	if err != nil {
		m.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		m.Fatal(err)
	}
	out := &response{status: answer.StatusCode, header: answer.Header, body: body}
	if json.Unmarshal(body, &out.json) != nil {
		out.json = nil
	}
	return out
}

// get asks with a bearer token, "" for none.
func (m *module) get(address, token string) *response {
	m.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		m.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return m.do(r)
}

// post sends a form; change may add headers.
func (m *module) post(address string, form url.Values, change ...func(*http.Request)) *response {
	m.Helper()
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		m.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8") // as the suite's Spring writes it
	for _, f := range change {
		f(r)
	}
	return m.do(r)
}

// metadata is the discovery document, read anew.
func (m *module) metadata() map[string]any {
	m.Helper()
	r := m.get(m.party.issuer+"/.well-known/openid-configuration", "")
	if r.status != http.StatusOK || r.json == nil {
		m.Fatalf("discovery: %s", r)
	}
	return r.json
}

// endpoint is an address that discovery names.
func (m *module) endpoint(name string) string {
	m.Helper()
	address, _ := m.metadata()[name].(string)
	if address == "" {
		m.Fatalf("discovery names no %s", name)
	}
	return address
}

// listed are the strings of a member of the discovery document.
func listed(metadata map[string]any, name string) []string {
	var all []string
	values, _ := metadata[name].([]any)
	for _, v := range values {
		s, _ := v.(string)
		all = append(all, s)
	}
	return all
}
