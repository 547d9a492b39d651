package webmail

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestAllAttachmentsComeInOneFile(t *testing.T) {
	r := newRig(t)
	part := func(name, content string) string {
		return "--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename*=utf-8''" + url.PathEscape(name) + "\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(content)) + "\r\n"
	}
	at := r.put("mdupont", []byte("From: a@b.example\r\nSubject: =?utf-8?q?Compte/rendu_=C3=A9t=C3=A9?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\ntexte\r\n"+
		part("élèves.txt", "un")+part("Élèves.txt", "deux")+part("../../etc/passwd", "trois")+part("élèves.txt", strings.Repeat("x", 3<<20))+"--b--\r\n"))
	b := r.browser("mdupont")
	b.get(at.path())
	b.sees("Tout télécharger (zip)")
	b.get(at.path() + "/files.zip")
	b.status(200)
	if h := b.last.Header; h.Get("Content-Type") != "application/zip" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || !strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%v", h)
	}
	archive, err := zip.NewReader(bytes.NewReader([]byte(b.body)), int64(len(b.body)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"élèves.txt": 2, "Élèves (2).txt": 4, "passwd": 5, "élèves (3).txt": 3 << 20}
	for _, f := range archive.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if n, known := want[f.Name]; !known || n != len(content) || err != nil {
			t.Errorf("%q: %d bytes, %v", f.Name, len(content), err)
		}
		delete(want, f.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	one := r.put("mdupont", []byte(simple))
	b.get(one.path() + "/files.zip")
	b.status(404)
}

func TestAMessageIsPrintedWithWhoWroteIt(t *testing.T) {
	for name, content := range map[string]string{"apart": elsewhere, "here": ""} {
		t.Run(name, func(t *testing.T) {
			r := newRigShowing(t, content)
			b := r.browser("mdupont")
			for _, raw := range [][]byte{htmlMail("Ann <script>alert(1)</script> <ann@perso.example>", "<p>Bonjour <b>Marie</b></p>"), []byte("From: Ann <ann@perso.example>\r\nTo: m@a.example\r\nSubject: <b>Objet</b>\r\n\r\nBonjour <script>alert(1)</script>\r\n")} {
				at := r.put("mdupont", raw)
				b.get(at.path())
				b.sees(`href="` + at.path() + `/document?print"`)
				b.get(at.path() + "/document?print")
				b.status(200)
				b.sees("Bonjour", "ann@perso.example", "beffroi-print")
				documentIsHarmless(t, "print", b)
			}
		})
	}
}

func TestListsAreLeftByOneRequest(t *testing.T) {
	var asked []string
	list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+string(body)+" "+r.Header.Get("Cookie")+r.Header.Get("Referer"))
		switch r.URL.Path {
		case "/no":
			w.WriteHeader(http.StatusForbidden)
		case "/away":
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}
	}))
	defer list.Close()
	r := newRigApart(t)
	r.s.pictures = pictureClient(func(netip.Addr) error { return nil })
	r.s.pictures.Transport = rewrite{list.URL}
	b := r.browser("mdupont")
	letter := func(headers string) ref {
		return r.put("mdupont", []byte("From: a@b.example\r\nSubject: x\r\n"+headers+"Content-Type: text/plain\r\n\r\ntexte\r\n"))
	}
	const oneClick = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
	at := letter("List-Unsubscribe: <mailto:leave@b.example>,\r\n <https://list.example/leave?u=1>\r\n" + oneClick)
	b.get(at.path())
	b.sees("Se désabonner", at.path()+"/unsubscribe")
	if len(asked) > 0 {
		t.Fatalf("asked by opening it: %q", asked)
	}
	b.post(at.path()+"/unsubscribe", nil)
	b.sees("ne devrait plus vous écrire")
	if len(asked) != 1 || asked[0] != "POST /leave List-Unsubscribe=One-Click " {
		t.Errorf("%q", asked)
	}
	for _, path := range []string{"/no", "/away"} {
		asked = nil
		b.post(letter("List-Unsubscribe: <https://list.example"+path+">\r\n"+oneClick).path()+"/unsubscribe", nil)
		b.sees("n’a pas accepté la demande")
		if len(asked) != 1 {
			t.Errorf("%q", asked)
		}
	}
	asked = nil
	for headers, sees := range map[string]string{
		"List-Unsubscribe: <https://list.example/leave>\r\n":                             "Se désabonner sur list.example",
		"List-Unsubscribe: <mailto:leave@b.example?subject=leave>\r\n":                   "Se désabonner par un message",
		"List-Unsubscribe: <http://list.example/leave>\r\n" + oneClick:                   "",
		"List-Unsubscribe: <https://user@list.example/leave>\r\n" + oneClick:             "",
		"List-Unsubscribe: <javascript:alert(1)>, <https://list.example:25/>\r\n":        "Se désabonner sur list.example",
		"List-Unsubscribe: <https://list.example:25/leave>\r\n" + oneClick:               "Se désabonner sur list.example",
		"List-Unsubscribe: https://list.example/leave\r\n":                               "",
		"List-Unsubscribe: <data:text/html,x>\r\n" + oneClick:                            "",
		"List-Unsubscribe: <https://list.example/" + strings.Repeat("x", 3000) + ">\r\n": "",
	} {
		at := letter(headers)
		b.get(at.path())
		if sees != "" {
			b.sees(sees)
		} else if strings.Contains(b.body, "désabonner") {
			t.Errorf("%q is offered", headers)
		}
		b.post(at.path()+"/unsubscribe", nil)
		b.status(400)
	}
	if len(asked) > 0 {
		t.Errorf("%q", asked)
	}
}

// rewrite leads every request to one server.
type rewrite struct{ to string }

func (w rewrite) RoundTrip(r *http.Request) (*http.Response, error) {
	at, _ := url.Parse(w.to)
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = at.Scheme, at.Host
	return http.DefaultTransport.RoundTrip(r)
}
