package demo

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"beffroi/directory"
	"beffroi/directory/directorytest"
	"beffroi/internal/secret"
)

// startSample serves the sample academy, with further entries.
func startSample(t testing.TB, more string) *LDAPServer {
	t.Helper()
	s, err := startLDAP("127.0.0.1:0", Academy().LDIF()+more)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func openDirectory(t testing.TB, s *LDAPServer, change func(*directory.Config)) *directory.LDAP {
	t.Helper()
	c := directory.Config{URLs: []string{"ldap://" + s.Addr}, BindDN: s.BindDN, BindPassword: secret.String(s.BindPassword), BaseDN: s.BaseDN}
	if change != nil {
		change(&c)
	}
	d, err := directory.Open(c, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// dial connects a plain client.
func dialLDAP(t testing.TB, s *LDAPServer) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL("ldap://" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetTimeout(5 * time.Second)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestTheDemoDirectoryKeepsThePromises(t *testing.T) {
	// The odd people's groups name them; here the people also name their group, as a server with memberOf would have it.
	odd := strings.ReplaceAll(directorytest.OddPeople("ou=people,"+BaseDN, "ou=groups,"+BaseDN), "mail: obrien@academie.test\n",
		"mail: obrien@academie.test\nmemberOf:: "+base64.StdEncoding.EncodeToString([]byte(`cn=amis\, (et) alliés*,ou=groups,`+BaseDN))+"\n")
	s := startSample(t, odd)
	for _, how := range []string{"memberof", "member", "both"} {
		t.Run(how, func(t *testing.T) {
			directorytest.Run(t, openDirectory(t, s, func(c *directory.Config) { c.Groups = how }))
		})
	}
}

func TestTheIdentityIsThatOfTheSample(t *testing.T) {
	d := openDirectory(t, startSample(t, ""), nil)
	for _, want := range Academy().People {
		p, err := d.ByLogin(t.Context(), want.Login)
		if err != nil || p.ID != want.ID || p.DisplayName != want.DisplayName || p.Mail != want.Mail || !slices.Equal(p.Groups, want.Groups) ||
			!slices.Equal(p.UAI, []string{want.UAI}) || p.Kind != want.Kind || p.Title != want.Title || p.Phone != want.Phone || !slices.Equal(p.MailAliases, want.Aliases) {
			t.Errorf("%s: %+v, %v", want.Login, p, err)
		}
	}
}

func TestWhoMayBindAndSee(t *testing.T) {
	s := startSample(t, "")
	c := dialLDAP(t, s)
	people := ldap.NewSearchRequest(BaseDN, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(uid=*)", []string{"*", "+", "userPassword"}, nil)
	code := func(err error) uint16 {
		var answer *ldap.Error
		if errors.As(err, &answer) {
			return answer.ResultCode
		}
		return 0
	}
	if _, err := c.Search(people); code(err) != resultInsufficientRights {
		t.Errorf("an anonymous search: %v", err)
	}
	for _, test := range []struct {
		dn, password string
		code         uint16
	}{
		{personDN("mdupont"), "faux", resultInvalidCredentials},
		{personDN("personne"), Password, resultInvalidCredentials},
		{"ou=people," + BaseDN, Password, resultInvalidCredentials},
		{"mdupont", Password, resultInvalidDN},
		{s.BindDN, Password, resultInvalidCredentials},
		{"UID=MDupont , OU=people," + strings.ToUpper(BaseDN), Password, resultOK},
	} {
		if err := c.Bind(test.dn, test.password); code(err) != test.code {
			t.Errorf("%s: %v", test.dn, err)
		}
	}
	who, err := c.WhoAmI(nil)
	if err != nil || who.AuthzID != "dn:"+personDN("mdupont") {
		t.Errorf("who am I: %+v, %v", who, err)
	}
	found, err := c.Search(people)
	if err != nil || len(found.Entries) != 1 || found.Entries[0].GetAttributeValue("uid") != "mdupont" {
		t.Errorf("a person sees %d people, %v", len(found.Entries), err)
	}
	_ = c.Bind(personDN("mdupont"), "faux")
	if who, _ := c.WhoAmI(nil); who.AuthzID != "" {
		t.Errorf("after a wrong password: %s", who.AuthzID)
	}
	if err := c.Bind(s.BindDN, s.BindPassword); err != nil {
		t.Fatal(err)
	}
	found, err = c.Search(people)
	if err != nil || len(found.Entries) != len(Academy().People) {
		t.Errorf("the service account sees %d people, %v", len(found.Entries), err)
	}
	for _, e := range found.Entries {
		if len(e.GetEqualFoldAttributeValues("userPassword")) > 0 {
			t.Fatalf("%s shows a password", e.DN)
		}
	}
	if err := c.UnauthenticatedBind(personDN("mdupont")); code(err) != resultUnwilling {
		t.Errorf("an unauthenticated bind: %v", err)
	}
	if err := c.Modify(&ldap.ModifyRequest{DN: personDN("mdupont"), Changes: []ldap.Change{{Operation: 2, Modification: ldap.PartialAttribute{Type: "title", Vals: []string{"x"}}}}}); code(err) != resultUnwilling {
		t.Errorf("a change: %v", err)
	}
	if err := c.Del(ldap.NewDelRequest(personDN("mdupont"), nil)); code(err) != resultUnwilling {
		t.Errorf("a removal: %v", err)
	}
	if err := c.StartTLS(nil); code(err) != resultProtocolError {
		t.Errorf("StartTLS: %v", err)
	}
}

func TestSearchesOfTheDemoDirectory(t *testing.T) {
	s := startSample(t, "")
	c := dialLDAP(t, s)
	if err := c.Bind(s.BindDN, s.BindPassword); err != nil {
		t.Fatal(err)
	}
	all := len(Academy().People)
	people, heads := "ou=people,"+BaseDN, len(Academy().Groups[slices.IndexFunc(Academy().Groups, func(g Group) bool { return g.Name == groupHeads })].Members)
	for _, test := range []struct {
		base   string
		scope  int
		filter string
		want   int
	}{
		{people, 2, "(uid=MDUPONT)", 1},
		{people, 2, "(uid=mdupont*)", 1},
		{people, 2, "(&(uid=m*t)(sn=dup*)(!(uid=mdupond)))", 1},
		{people, 2, "(|(uid=mdupont)(uid=jmartin)(uid=personne))", 2},
		{people, 2, "(cn=*jean*martin*)", 1},
		{people, 2, "(cn=jean-françois MARTIN)", 1},
		{people, 2, "(cn=jean-francois martin)", 0}, // accents count
		{people, 2, "(objectClass=inetOrgPerson)", all},
		{people, 2, "(!(objectClass=inetOrgPerson))", 1},
		{people, 1, "(objectClass=*)", all},
		{people, 0, "(objectClass=*)", 1},
		{BaseDN, 1, "(objectClass=*)", 3},
		{BaseDN, 2, "(&(uid=*)(uid>=jmartin)(uid<=jmartin))", 1},
		{BaseDN, 2, "(memberOf=CN=chefs-etablissement, OU=groups," + BaseDN + ")", heads},
		{BaseDN, 2, "(member=" + personDN("xpartenaire") + ")", 1},
		{BaseDN, 2, "(&)", all + len(Academy().Groups) + 5},
		{BaseDN, 2, "(|)", 0},
		{BaseDN, 2, "(userPassword=*)", 0},
		{BaseDN, 2, "(!(userPassword=x))", 0},
		{BaseDN, 2, "(uid:caseExactMatch:=mdupont)", 0},
		{BaseDN, 2, "(!(uid:caseExactMatch:=mdupont))", 0},
		{BaseDN, 2, `(uid=\00)`, 0},
	} {
		found, err := c.Search(ldap.NewSearchRequest(test.base, test.scope, 0, 0, 0, false, test.filter, []string{"1.1"}, nil))
		if err != nil || len(found.Entries) != test.want {
			t.Errorf("%s %d %s: %d, want %d, %v", test.base, test.scope, test.filter, len(found.Entries), test.want, err)
		}
	}
	found, err := c.Search(ldap.NewSearchRequest(people, 2, 0, 7, 0, false, "(uid=*)", nil, nil))
	if !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) || len(found.Entries) != 7 {
		t.Errorf("a limit of 7: %d, %v", len(found.Entries), err)
	}
	paged, err := c.SearchWithPaging(ldap.NewSearchRequest(people, 2, 0, 0, 0, false, "(uid=*)", nil, nil), 100)
	if err != nil || len(paged.Entries) != all {
		t.Errorf("in pages: %d, %v", len(paged.Entries), err)
	}
	if _, err := c.Search(ldap.NewSearchRequest("ou=rien,"+BaseDN, 2, 0, 0, 0, false, "(uid=*)", nil, nil)); !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		t.Errorf("a base that does not exist: %v", err)
	}
	root, err := dialLDAP(t, s).Search(ldap.NewSearchRequest("", 0, 0, 0, 0, false, "(objectClass=*)", nil, nil))
	if err != nil || len(root.Entries) != 1 || root.Entries[0].GetAttributeValue("namingContexts") != BaseDN {
		t.Errorf("the root: %+v, %v", root, err)
	}
	entry, err := c.Search(ldap.NewSearchRequest(personDN("mdupont"), 0, 0, 0, 0, false, "(objectClass=*)", []string{"UID", "entryUUID"}, nil))
	if err != nil || len(entry.Entries[0].Attributes) != 2 {
		t.Errorf("two attributes: %+v, %v", entry.Entries, err)
	}
}

func TestAnUnknownCriticalControlIsRefused(t *testing.T) {
	c := dialLDAP(t, startSample(t, ""))
	_, err := c.Search(ldap.NewSearchRequest("", 0, 0, 0, 0, false, "(objectClass=*)", nil, []ldap.Control{ldap.NewControlString("1.2.3.4", true, "")}))
	if !ldap.IsErrorWithCode(err, ldap.LDAPResultUnavailableCriticalExtension) {
		t.Error(err)
	}
	_, err = c.Search(ldap.NewSearchRequest("", 0, 0, 0, 0, false, "(objectClass=*)", nil, []ldap.Control{ldap.NewControlString("1.2.3.4", false, "")}))
	if err != nil {
		t.Error(err)
	}
}

// hostile is what no client sends by mistake.
func hostile() map[string][]byte {
	// a filter of nots within nots
	deep := []byte{0x87, 0x01, 'u'}
	for len(deep) < 30000 {
		n := len(deep)
		deep = append([]byte{0xa2, 0x82, byte(n >> 8), byte(n)}, deep...)
	}
	search := func(filter []byte) []byte {
		body := append([]byte{0x04, 0x00, 0x0a, 0x01, 0x00, 0x0a, 0x01, 0x00, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x01, 0x01, 0x00}, filter...)
		body = append(body, 0x30, 0x00)
		body = append([]byte{0x63, 0x82, byte(len(body) >> 8), byte(len(body))}, body...)
		body = append([]byte{0x02, 0x01, 0x01}, body...)
		return append([]byte{0x30, 0x82, byte(len(body) >> 8), byte(len(body))}, body...)
	}
	wide := []byte{}
	for range 12000 {
		wide = append(wide, 0x87, 0x01, 'u')
	}
	wide = append([]byte{0xa1, 0x82, byte(len(wide) >> 8), byte(len(wide))}, wide...)
	return map[string][]byte{
		"nothing":                 {},
		"HTTP":                    []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"TLS":                     {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc},
		"a length of 2 GB":        {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02, 0x01, 0x01},
		"a length of 16 EB":       {0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"an indefinite length":    {0x30, 0x80, 0x02, 0x01, 0x01, 0x42, 0x00, 0x00, 0x00},
		"a child beyond its end":  {0x30, 0x05, 0x02, 0x7f, 0x01, 0x42, 0x00},
		"an empty message":        {0x30, 0x00},
		"a message without an ID": {0x30, 0x02, 0x42, 0x00},
		"ID 0":                    {0x30, 0x05, 0x02, 0x01, 0x00, 0x42, 0x00},
		"a negative ID":           {0x30, 0x05, 0x02, 0x01, 0xff, 0x42, 0x00},
		"an ID of nine bytes":     {0x30, 0x0d, 0x02, 0x09, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x42, 0x00},
		"an operation unheard of": {0x30, 0x05, 0x02, 0x01, 0x01, 0x5e, 0x00},
		"an empty bind":           {0x30, 0x05, 0x02, 0x01, 0x01, 0x60, 0x00},
		"an empty search":         {0x30, 0x05, 0x02, 0x01, 0x01, 0x63, 0x00},
		"an empty extended":       {0x30, 0x05, 0x02, 0x01, 0x01, 0x77, 0x00},
		"an empty control":        {0x30, 0x09, 0x02, 0x01, 0x01, 0x42, 0x00, 0xa0, 0x02, 0x30, 0x00},
		"a deep filter":           search(deep),
		"a wide filter":           search(wide),
		"an empty filter":         search([]byte{0xa2, 0x00}),
		"a filter of no kind":     search([]byte{0x8f, 0x01, 'u'}),
		"substrings of nothing":   search([]byte{0xa4, 0x05, 0x04, 0x01, 'u', 0x30, 0x00}),
		"half a message":          {0x30, 0x20, 0x02, 0x01},
		"a high tag":              {0x3f, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x00},
		"zeros":                   make([]byte, 4096),
		"ones":                    bytes.Repeat([]byte{0xff}, 4096),
	}
}

func TestHostileInputNeitherCrashesNorHangsTheServer(t *testing.T) {
	s := startSample(t, "")
	var wait sync.WaitGroup
	for name, raw := range hostile() {
		wait.Go(func() {
			c, err := net.Dial("tcp", s.Addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = c.Write(raw)
			_ = c.(*net.TCPConn).CloseWrite()
			answer, err := io.ReadAll(c)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("%s: still open after 5 s", name)
			}
			if len(answer) > 4096 {
				t.Errorf("%s: %d bytes of answer", name, len(answer))
			}
		})
	}
	wait.Wait()
	c := dialLDAP(t, s)
	if err := c.Bind(s.BindDN, s.BindPassword); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	s := startSample(t, "")
	var open []net.Conn
	for range ldapMaxConns + 50 {
		c, err := net.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	last := open[len(open)-1]
	_ = last.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := last.Read(make([]byte, 1)); err == nil {
		t.Error("a connection too many was taken")
	}
	for _, c := range open {
		c.Close()
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		c, err := ldap.DialURL("ldap://" + s.Addr)
		if err == nil {
			err = c.Bind(s.BindDN, s.BindPassword)
			c.Close()
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("once they left, nobody else gets in")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	s := startSample(t, "")
	c := dialLDAP(t, s)
	if err := c.Bind(s.BindDN, s.BindPassword); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Close hangs")
	}
	if err := c.Bind(s.BindDN, s.BindPassword); err == nil {
		t.Error("a connection outlived the server")
	}
}

func FuzzLDAPMessage(f *testing.F) {
	for _, raw := range hostile() {
		f.Add(raw)
	}
	for _, filter := range []string{"(&(uid=a*b*c)(!(cn=x))(|(sn>=a)(sn<=b)(sn~=c)))", "(memberOf=cn=x,ou=y)", "(uid:caseExactMatch:=x)", "(objectClass=*)"} {
		packet, err := ldap.CompileFilter(filter)
		if err != nil {
			f.Fatal(err)
		}
		body := append([]byte{0x04, 0x00, 0x0a, 0x01, 0x02, 0x0a, 0x01, 0x00, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x01, 0x01, 0x00}, packet.Bytes()...)
		body = append(body, 0x30, 0x00)
		body = append([]byte{0x63, byte(len(body))}, body...)
		body = append([]byte{0x02, 0x01, 0x01}, body...)
		f.Add(append([]byte{0x30, byte(len(body))}, body...))
	}
	entries, err := directory.ParseLDIF(strings.NewReader(Academy().LDIF()))
	if err != nil {
		f.Fatal(err)
	}
	tree := newLDAPTree(entries[:20])
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := bufio.NewReader(bytes.NewReader(raw))
		c := &ldapClient{tree: tree, out: bufio.NewWriter(io.Discard), bound: serviceAccount}
		for range 4 {
			m, err := readLDAPMessage(in)
			if err != nil || !c.handle(m) {
				return
			}
		}
	})
}

// BenchmarkDemoSignIn is one sign-in at the demo's directory, both sides.
func BenchmarkDemoSignIn(b *testing.B) {
	d := openDirectory(b, startSample(b, ""), nil)
	for b.Loop() {
		if _, outcome, err := d.Authenticate(b.Context(), "mdupont", Password); err != nil || !outcome.OK() {
			b.Fatal(fmt.Sprint(outcome), err)
		}
	}
}
