package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/secret"
	"beffroi/internal/testpeer"
)

// patience is how long what is known of a person may be remembered, so how long somebody who has left may still get in.
const patience = 60 * time.Second

// The applications of leavers, one for each format of access tokens: they refresh, exchange for the mail server, and sign devices in.
func leaverApps() string {
	var y strings.Builder
	for id, format := range map[string]string{"leaver-opaque": "opaque", "leaver-jwt": "at+jwt"} {
		fmt.Fprintf(&y, "  - id: %s\n    name: {fr: Outil %s}\n    secret_sha256: [%q]\n    redirect_uris: [\"http://127.0.0.1/callback\"]\n    groups: [tous-personnels]\n    assurance: 1\n"+
			"    scopes: [openid, profile, email, groups, offline_access, mail]\n    token_format: %s\n    exchange_to: [imap]\n"+
			"    grants: [authorization_code, refresh_token, \"urn:ietf:params:oauth:grant-type:device_code\", \"urn:ietf:params:oauth:grant-type:token-exchange\"]\n",
			id, id, secret.Hash("a-secret-of-a-leaver-for-the-tests-of-e2e"), format)
	}
	return y.String()
}

// access is what one person holds at one application, and the browser in which they are signed in.
type access struct {
	name    string
	leaves  bool
	app     *visitor.Application
	browser *visitor.Visitor
	tokens  []*visitor.Tokens // of the grant, and of a refresh
	mail    string            // the token exchanged for the mail server
	refresh string            // the refresh token that works
}

// A person disabled in the directory, or taken out of the group, loses every way in within a minute: however they had signed in,
// whatever the format of the tokens, on both databases. Somebody who stays loses none.
func TestWhoHasLeftIsOutWithinAMinute(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	slapd := testpeer.Slapd(t)
	databases := map[string]string{
		"sqlite": "sqlite:" + filepath.Join(testpeer.Dir(t), "beffroi.db"), "postgresql": testpeer.StartPostgres(t, testpeer.PostgresOptions{}).Database(),
	}
	var held []*access
	var imap []*visitor.Application
	for database, address := range databases {
		b := rig.Serve(t, &rig.Parts{Database: address, Slapd: slapd, Assurance: 1, Apps: leaverApps()})
		mail := &visitor.Application{Issuer: b.Provider, ID: "imap", Secret: "imap-secret-for-tests"}
		for _, grant := range []string{"code", "device"} {
			for _, fate := range []string{"disabled", "out", "stays"} {
				login := fate + "-" + grant
				if len(imap) == 0 { // one directory for both
					join(slapd, login)
				}
				v, who := visitor.New(), &visitor.Person{Login: login, Password: testpeer.Password}
				for _, format := range []string{"opaque", "jwt"} {
					app := &visitor.Application{Issuer: b.Provider, ID: "leaver-" + format, Secret: "a-secret-of-a-leaver-for-the-tests-of-e2e", RedirectURI: "http://127.0.0.1:49154/callback"}
					a := &access{name: strings.Join([]string{database, fate, grant, format}, " "), leaves: fate != "stays", app: app, browser: v}
					a.enter(t, ctx, who, grant)
					held = append(held, a)
				}
			}
		}
		imap = append(imap, mail)
	}
	mailOf := func(a *access) *visitor.Application {
		for _, m := range imap {
			if m.Issuer == a.app.Issuer {
				return m
			}
		}
		return nil
	}
	for _, a := range held {
		for way, works := range a.ways(ctx, mailOf(a)) {
			if ok, err := works(); err != nil || !ok {
				t.Fatalf("%s: %s does not work before anything has changed: %v", a.name, way, err)
			}
		}
	}
	for _, grant := range []string{"code", "device"} {
		slapd.Modify("dn: uid=disabled-" + grant + ",ou=people,dc=academie,dc=test\nchangetype: modify\nreplace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n")
		slapd.Modify("dn: cn=tous-personnels,ou=groups,dc=academie,dc=test\nchangetype: modify\ndelete: member\nmember: uid=out-" + grant + ",ou=people,dc=academie,dc=test\n")
	}
	left := time.Now()
	var all sync.WaitGroup
	for _, a := range held {
		all.Go(func() { a.watch(t, ctx, mailOf(a), left) })
	}
	all.Wait()
}

// join puts somebody into the directory and the group of all staff.
func join(slapd *testpeer.SlapdServer, login string) {
	slapd.Add("dn: uid=" + login + ",ou=people,dc=academie,dc=test\nobjectClass: inetOrgPerson\nuid: " + login + "\ncn: " + login + "\nsn: " + login + "\nmail: " + login +
		"@academie.test\nuserPassword: " + testpeer.Password + "\n")
	slapd.Modify("dn: cn=tous-personnels,ou=groups,dc=academie,dc=test\nchangetype: modify\nadd: member\nmember: uid=" + login + ",ou=people,dc=academie,dc=test\n")
}

// enter gets all that the application can have.
func (a *access) enter(t *testing.T, ctx context.Context, who *visitor.Person, grant string) {
	t.Helper()
	const scope = "openid profile groups offline_access mail"
	var tokens *visitor.Tokens
	var err error
	if grant == "device" {
		tokens, err = a.device(ctx, who, scope)
	} else {
		var page *visitor.Page
		if tokens, _, page, err = a.browser.Enter(ctx, a.app, who, scope); err == nil && tokens == nil {
			err = fmt.Errorf("not let in: %s", page)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", a.name, err)
	}
	again, err := a.app.Refresh(ctx, tokens.RefreshToken)
	if err != nil || again.Error != "" {
		t.Fatalf("%s: refresh: %+v %v", a.name, again, err)
	}
	mail, err := a.app.Exchange(ctx, tokens.AccessToken, "imap")
	if err != nil || mail.Error != "" {
		t.Fatalf("%s: exchange: %+v %v", a.name, mail, err)
	}
	a.tokens, a.mail, a.refresh = []*visitor.Tokens{tokens, again}, mail.AccessToken, again.RefreshToken
}

// device signs a device in: the person opens its page in the browser and says yes.
func (a *access) device(ctx context.Context, who *visitor.Person, scope string) (*visitor.Tokens, error) {
	d, err := a.app.BeginDevice(ctx, scope)
	if err != nil {
		return nil, err
	}
	page, err := a.browser.Open(ctx, d.Complete, "")
	if err != nil {
		return nil, err
	}
	form, err := page.Form("user_code")
	if err != nil {
		return nil, err
	}
	if page, err = a.browser.Submit(ctx, form, nil, ""); err != nil {
		return nil, err
	}
	if page, err = a.browser.SignIn(ctx, page, who, ""); err != nil {
		return nil, err
	}
	if form, err = page.Form("request"); err != nil {
		return nil, err
	}
	if page, err = a.browser.Submit(ctx, form, map[string]string{"answer": "allow"}, ""); err != nil || page.Status != 200 {
		return nil, fmt.Errorf("%s: %w", page, err)
	}
	tokens, err := a.app.RedeemDevice(ctx, d)
	if err == nil && (tokens.Error != "" || tokens.RefreshToken == "") {
		err = fmt.Errorf("the device is answered %+v", tokens)
	}
	return tokens, err
}

// ways are the ways in, each of which tells whether it still works.
func (a *access) ways(ctx context.Context, mail *visitor.Application) map[string]func() (bool, error) {
	all := map[string]func() (bool, error){
		"refresh": func() (bool, error) {
			answer, err := a.app.Refresh(ctx, a.refresh)
			if err == nil && answer.RefreshToken != "" {
				a.refresh = answer.RefreshToken
			}
			return err == nil && answer.AccessToken != "", err
		},
		"exchange": func() (bool, error) {
			answer, err := a.app.Exchange(ctx, a.tokens[1].AccessToken, "imap")
			return err == nil && answer.AccessToken != "", err
		},
		"the mail server's introspection": func() (bool, error) {
			_, fields, _, err := mail.Introspect(ctx, a.mail)
			return fields["active"] == true, err
		},
		"single sign-on": func() (bool, error) {
			attempt, err := a.app.Begin(ctx, "openid", nil)
			if err != nil {
				return false, err
			}
			page, err := a.browser.Open(ctx, attempt.URL, a.app.RedirectURI)
			if err != nil {
				return false, err
			}
			return strings.Contains(page.Location(), "code="), nil
		},
	}
	for i, which := range []string{"", " with a refreshed token"} {
		token := a.tokens[i].AccessToken
		all["userinfo"+which] = func() (bool, error) {
			status, _, err := a.app.UserInfo(ctx, token)
			return status == 200, err
		}
		all["introspection"+which] = func() (bool, error) {
			_, fields, _, err := a.app.Introspect(ctx, token)
			return fields["active"] == true, err
		}
	}
	return all
}

// watch tries every way until it is lost, or until patience ends; then it must be lost, or, for who stays, still work.
func (a *access) watch(t *testing.T, ctx context.Context, mail *visitor.Application, left time.Time) {
	open := a.ways(ctx, mail)
	for end := false; !end && len(open) > 0; {
		end = time.Since(left) >= patience
		for way, works := range open {
			ok, err := works()
			switch {
			case err != nil:
				t.Errorf("%s: %s: %v", a.name, way, err)
			case !ok && a.leaves:
				delete(open, way)
			case ok == a.leaves && end:
				t.Errorf("%s: %s: works %v a minute later", a.name, way, ok)
			}
		}
		if !end && len(open) > 0 {
			time.Sleep(min(2*time.Second, max(0, patience-time.Since(left))))
		}
	}
}
