package testpeer

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// RadicaleServer is a CalDAV and CardDAV server that believes a header: whoever it names owns /<login>/ and sees nothing else.
type RadicaleServer struct {
	*Server
	URL    string // http://127.0.0.1:port, without a slash at the end
	Header string // X-Remote-User
}

// Radicale starts a Radicale for this test, empty.
func Radicale(t testing.TB) *RadicaleServer {
	t.Helper()
	radicale, err := program("radicale")
	if err != nil {
		t.Fatal(err)
	}
	dir := testDir(t, "radicale")
	port := FreePort(t)
	if err := configure(dir, "radicale.conf", map[string]any{"Dir": dir, "Address": loopback(port)}); err != nil {
		t.Fatal(err)
	}
	s := &RadicaleServer{URL: "http://" + loopback(port), Header: "X-Remote-User"}
	s.Server = run(t, &process{
		name: "Radicale", log: filepath.Join(dir, "radicale.log"),
		command: func() *exec.Cmd { return exec.Command(radicale, "--config", filepath.Join(dir, "radicale.conf")) },
		ready:   func() bool { return listening(port) },
	})
	return s
}

// MakeCalendar creates the calendar /login/name/ and gives its path.
func (s *RadicaleServer) MakeCalendar(login, name, title string) string {
	s.t.Helper()
	return s.collection(login, name, title, `<C:calendar xmlns:C="urn:ietf:params:xml:ns:caldav"/>`)
}

// MakeBook creates the address book /login/name/ and gives its path.
func (s *RadicaleServer) MakeBook(login, name, title string) string {
	s.t.Helper()
	return s.collection(login, name, title, `<C:addressbook xmlns:C="urn:ietf:params:xml:ns:carddav"/>`)
}

// collection makes a collection of a kind (RFC 5689 extended MKCOL).
func (s *RadicaleServer) collection(login, name, title, kind string) string {
	s.t.Helper()
	path := "/" + login + "/" + name + "/"
	body := fmt.Sprintf(`<?xml version="1.0"?><mkcol xmlns="DAV:"><set><prop><resourcetype><collection/>%s</resourcetype><displayname>%s</displayname></prop></set></mkcol>`, kind, title)
	if status, answer := s.Do(login, "MKCOL", path, "application/xml", body); status != http.StatusCreated {
		s.t.Fatalf("create %s: %d %s", path, status, answer)
	}
	return path
}

// Put stores an object (text/calendar or text/vcard by the path's ending).
func (s *RadicaleServer) Put(login, path, object string) {
	s.t.Helper()
	kind := "text/calendar; charset=utf-8"
	if strings.HasSuffix(path, ".vcf") {
		kind = "text/vcard; charset=utf-8"
	}
	if status, answer := s.Do(login, http.MethodPut, path, kind, string(crlf([]byte(object)))); status != http.StatusCreated && status != http.StatusNoContent {
		s.t.Fatalf("put %s: %d %s", path, status, answer)
	}
}

// Do sends one request as login and gives status and body.
func (s *RadicaleServer) Do(login, method, path, contentType, body string) (int, string) {
	s.t.Helper()
	request, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set(s.Header, login)
	request.Header.Set("Content-Type", contentType)
	client := http.Client{Timeout: 20 * time.Second}
	answer, err := client.Do(request)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}
