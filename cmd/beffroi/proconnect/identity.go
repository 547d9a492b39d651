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
	// What is required is a text of 1 to 256 characters that fits.
	check := func(rule, name string, fits func(string) bool) bool {
		value := claims[name]
		s, isText := value.(string)
		return p.hold(rule, isText && within(s) && fits(s), fmt.Sprintf("%s=%#v", name, value))
	}
	check("sub", "sub", ascii)
	check("given_name", "given_name", anything)
	check("usual_name", "usual_name", anything)
	if check("email", "email", mailAddress.MatchString) {
		check("email_domain", "email", func(s string) bool {
			return len(p.MailDomains) == 0 || slices.Contains(p.MailDomains, strings.ToLower(s[strings.LastIndex(s, "@")+1:]))
		})
	}
	check("uid", "uid", ascii)
	siret, _ := claims["siret"].(string)
	if !check("siret", "siret", isSIRET) {
		siret = ""
	}
	// The others may be missing, but not be there without saying anything.
	var empty []error
	optional := func(rule, name string, fits func(string) bool) {
		value, there := claims[name]
		s, isText := value.(string)
		switch {
		case there && (!isText || !within(s)):
			empty = append(empty, fmt.Errorf("%s=%#v", name, value))
		case rule != "":
			p.hold(rule, !there || fits(s), fmt.Sprintf("%s=%q", name, s))
		}
	}
	optional("siren", "siren", func(s string) bool {
		return len(s) == 9 && (siret == "" || strings.HasPrefix(strings.Join(strings.Fields(siret), ""), s))
	})
	optional("population", "belonging_population", func(s string) bool {
		return slices.Contains([]string{"agent", "prestataire", "partenaire", "stagiaire"}, s)
	})
	optional("phone", "phone_number", phone.MatchString)
	for _, name := range []string{"organizational_unit", "chorusdt:societe", "chorusdt:matricule"} {
		optional("", name, nil)
	}
	p.pass("optional", errors.Join(empty...))
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
