package proconnect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
)

// userinfo asks who the person is and reads the answer into ProConnect's form
// (IdentityFromIdpDto, IdentityForSpDto).
func (p *play) userinfo(ctx context.Context, t *tokens, idToken map[string]any) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.meta.UserInfo, nil)
	if err != nil {
		p.pass("userinfo_signature", err)
		return
	}
	r.Header.Set("Authorization", "Bearer "+t.AccessToken)
	r.Header.Set("Accept", "application/jwt")
	status, kind, body, err := p.machine(r)
	if err == nil && (status != http.StatusOK || kind != "application/jwt") {
		err = fmt.Errorf("%d %s", status, kind)
	}
	if err != nil {
		p.pass("userinfo_signature", err)
		return
	}
	claims, err := p.verify(ctx, strings.TrimSpace(string(body)), p.UserinfoAlg)
	p.pass("userinfo_signature", err)
	if claims == nil {
		return
	}
	_, hasAud := claims["aud"]
	iss, hasIss := claims["iss"]
	p.hold("userinfo_party", (!hasAud || forClient(claims, p.ClientID)) && (!hasIss || iss == p.Issuer), fmt.Sprintf("iss=%v aud=%v", iss, claims["aud"]))
	p.hold("userinfo_sub", claims["sub"] != nil && claims["sub"] == idToken["sub"], fmt.Sprintf("sub=%v, ID token sub=%v", claims["sub"], idToken["sub"]))
	p.identity(claims)
}

// identity checks each field of the form.
func (p *play) identity(claims map[string]any) {
	check := func(rule, name string, required bool, fits func(string) bool) bool {
		value, there := claims[name]
		s, isText := value.(string)
		ok := !there && !required || isText && within(s) && fits(s)
		return p.hold(rule, ok, fmt.Sprintf("%s=%#v", name, value))
	}
	check("sub", "sub", true, ascii)
	check("given_name", "given_name", true, anything)
	check("usual_name", "usual_name", true, anything)
	if check("email", "email", true, mailAddress.MatchString) {
		check("email_domain", "email", true, func(s string) bool {
			return len(p.MailDomains) == 0 || slices.Contains(p.MailDomains, strings.ToLower(s[strings.LastIndex(s, "@")+1:]))
		})
	}
	check("uid", "uid", true, ascii)
	siret, _ := claims["siret"].(string)
	if !check("siret", "siret", true, isSIRET) {
		siret = ""
	}
	check("siren", "siren", false, func(s string) bool {
		return len(s) == 9 && (siret == "" || strings.HasPrefix(strings.Join(strings.Fields(siret), ""), s))
	})
	check("population", "belonging_population", false, func(s string) bool {
		return slices.Contains([]string{"agent", "prestataire", "partenaire", "stagiaire"}, s)
	})
	check("phone", "phone_number", false, phone.MatchString)
	var wrong []error
	for _, name := range []string{"organizational_unit", "chorusdt:societe", "chorusdt:matricule"} {
		value, there := claims[name]
		if s, isText := value.(string); there && (!isText || !within(s)) {
			wrong = append(wrong, fmt.Errorf("%s=%#v", name, value))
		}
	}
	p.pass("optional", errors.Join(wrong...))
}

// mailAddress is near to what its form takes: a name and a domain with dots.
var mailAddress = regexp.MustCompile(`^[^\s@"(),:;<>\[\]\\.]+(\.[^\s@"(),:;<>\[\]\\.]+)*@([\pL0-9]([\pL0-9-]*[\pL0-9])?\.)+\pL{2,}$`)

// phone is its own expression.
var phone = regexp.MustCompile(`^\+?(?:[0-9][ -]?){6,14}[0-9]$`)

// within is MinLength(1) and MaxLength(256), in JavaScript's characters.
func within(s string) bool {
	n := len(utf16.Encode([]rune(s)))
	return n >= 1 && n <= 256
}

func anything(string) bool { return true }

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

var fourteen = regexp.MustCompile(`^\d{14}$`)

// isSIRET is ProConnect's own check, written a second time on purpose: the
// provider's must not be the judge of itself.
func isSIRET(s string) bool {
	s = strings.Join(strings.Fields(s), "")
	if !fourteen.MatchString(s) {
		return false
	}
	if strings.HasPrefix(s, "356000000") { // La Poste
		return true
	}
	sum := 0
	for i := range 14 {
		n := int(s[13-i]-'0') * (1 + i%2)
		sum += n/10 + n%10
	}
	return sum%10 == 0
}
