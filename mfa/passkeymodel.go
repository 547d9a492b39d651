package mfa

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/google/uuid"
)

// PasskeyConfig says which authenticators may become passkeys. The zero value
// takes any, and asks none who made it.
type PasskeyConfig struct {
	Attestation string   `yaml:"attestation"` // "none" (default), or "direct": the maker is asked to vouch for the model
	RootsFile   string   `yaml:"roots_file"`  // the makers' root certificates, PEM; without them nobody is vouched for
	AAGUIDs     []string `yaml:"aaguids"`     // the only models that may be enrolled; empty: any
	Origins     []string `yaml:"origins"`     // further origins under the issuer's host that may ask for passkeys
}

// Validate reports every value that makes no sense, by its key.
func (c PasskeyConfig) Validate() []error {
	var errs []error
	switch c.Attestation {
	case "", "none", "direct":
	default:
		errs = append(errs, fmt.Errorf("passkeys.attestation: %q is neither none nor direct", c.Attestation))
	}
	if _, err := c.roots(); err != nil {
		errs = append(errs, fmt.Errorf("passkeys.roots_file: %w", err))
	}
	if c.RootsFile != "" && c.Attestation != "direct" {
		errs = append(errs, errors.New("passkeys.roots_file: is of use with attestation: direct only"))
	}
	for i, id := range c.AAGUIDs {
		if !ValidModel(id) {
			errs = append(errs, fmt.Errorf("passkeys.aaguids[%d]: %q is not an AAGUID such as cb69481e-8ff7-4039-93ec-0a2729a154a8", i, id))
		}
	}
	if len(c.AAGUIDs) > 0 && c.RootsFile == "" {
		errs = append(errs, errors.New("passkeys.aaguids: needs roots_file: a model that nobody vouches for is only a word"))
	}
	for i, o := range c.Origins {
		if u, err := url.Parse(o); err != nil || u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != o {
			errs = append(errs, fmt.Errorf("passkeys.origins[%d]: %q is not an origin such as https://id.example.fr", i, o))
		}
	}
	return errs
}

// ValidModel tells whether a text is an AAGUID that names a model; that of
// zeros names none.
func ValidModel(id string) bool {
	parsed, err := uuid.Parse(id)
	return err == nil && parsed != uuid.Nil && strings.EqualFold(parsed.String(), id)
}

func (c PasskeyConfig) attestation() string {
	if c.Attestation == "" {
		return "none"
	}
	return c.Attestation
}

// origins is the host that passkeys answer to, empty for an IP address, and the
// origins that may ask for them.
func (c PasskeyConfig) origins(issuer string) (host string, all []string, err error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return "", nil, fmt.Errorf("passkeys: %q is not an origin", issuer)
	}
	host = strings.ToLower(u.Hostname())
	if _, err := netip.ParseAddr(host); err == nil {
		return "", nil, nil
	}
	for _, o := range c.Origins {
		other, err := url.Parse(o)
		if err != nil || other.Hostname() != host && !strings.HasSuffix(other.Hostname(), "."+host) {
			return "", nil, fmt.Errorf("provider.passkeys.origins: %q is not under %s: no browser would let it ask", o, host)
		}
	}
	return host, append([]string{u.Scheme + "://" + strings.ToLower(u.Host)}, c.Origins...), nil
}

// roots are the makers that are believed; nil believes none.
type roots struct{ pool *x509.CertPool }

func (c PasskeyConfig) roots() (*roots, error) {
	if c.RootsFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.RootsFile)
	if err != nil {
		return nil, err
	}
	r := &roots{pool: x509.NewCertPool()}
	n := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", c.RootsFile, n+1, err)
		}
		r.pool.AddCert(cert)
		n++
	}
	if n == 0 {
		return nil, fmt.Errorf("%s holds no certificate", c.RootsFile)
	}
	return r, nil
}

// vouch tells whether a statement that the library found well signed was signed
// by a maker that is believed: its certificates lead to one of the roots.
func (r *roots) vouch(o protocol.AttestationObject, now time.Time) bool {
	if r == nil {
		return false
	}
	chain, _ := o.AttStatement["x5c"].([]any)
	var leaf *x509.Certificate
	between := x509.NewCertPool()
	for i, one := range chain {
		raw, _ := one.([]byte)
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			return false
		}
		if i > 0 {
			between.AddCert(cert)
			continue
		}
		leaf = cert
		// A TPM's certificate marks names critical that the library checks and
		// crypto/x509 does not know (WebAuthn §8.3.1).
		leaf.UnhandledCriticalExtensions = nil
	}
	if leaf == nil {
		return false // it vouches for itself, or nobody does
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: r.pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil && !bytes.Equal(o.AuthData.AttData.AAGUID, make([]byte, 16))
}

// allowed tells whether a model may be used where only these may.
func allowed(models []string, aaguid string, attested bool) bool {
	if len(models) == 0 {
		return true
	}
	return attested && slices.ContainsFunc(models, func(m string) bool { return strings.EqualFold(m, aaguid) })
}

// ModelName is how a person calls the authenticators of a model; empty for one
// that this table does not know.
func ModelName(aaguid string) string { return modelNames[strings.ToLower(aaguid)] }

// ModelNames says models in words, each name once; one without a name by its AAGUID.
func ModelNames(aaguids []string) []string {
	var names []string
	for _, id := range aaguids {
		name := ModelName(id)
		if name == "" {
			name = id
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// AllowedModels says in words which models may be enrolled here, beside those
// of a rule; empty when any may.
func (s *Service) AllowedModels(rule []string) []string {
	if len(rule) > 0 {
		return ModelNames(rule)
	}
	if s.passkeys == nil {
		return nil
	}
	return ModelNames(s.passkeys.config.AAGUIDs)
}

// modelNames are authenticators that people of an academy hold, by the AAGUID
// that each tells when it is enrolled.
var modelNames = map[string]string{
	"08987058-cadc-4b81-b6e1-30de50dcbe96": "Windows Hello",
	"9ddd1817-af5a-4672-a2b9-3e3dd95000a9": "Windows Hello",
	"6028b017-b1d4-4c02-b4b3-afcdafc96bb2": "Windows Hello",
	"fbfc3007-154e-4ecc-8c0b-6e020557d7bd": "iCloud Keychain",
	"dd4ec289-e01d-41c9-bb89-70fa845d4bf2": "iCloud Keychain",
	"adce0002-35bc-c60a-648b-0b25f1f05503": "Chrome, Mac",
	"b5397666-4885-aa6b-cebf-e52262a439a2": "Chromium",
	"771b48fd-d3d4-4f74-9232-fc157ab0507a": "Edge, Mac",
	"ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4": "Google Password Manager",
	"53414d53-554e-4700-0000-000000000000": "Samsung Pass",
	"bada5566-a7aa-401f-bd96-45619a55120d": "1Password",
	"d548826e-79b4-db40-a3d8-11116f7e8349": "Bitwarden",
	"531126d6-e717-415c-9320-3d9aa6981239": "Dashlane",
	"0ea242b4-43c4-4a1b-8b17-dd6d0b6baec6": "Keeper",
	"50726f74-6f6e-5061-7373-50726f746f6e": "Proton Pass",
	"fdb141b2-5d84-443e-8a35-4698c205a502": "KeePassXC",
	"eaecdef2-1c31-5634-8639-f1cbd9c00a08": "KeePassDX",
	"cb69481e-8ff7-4039-93ec-0a2729a154a8": "YubiKey 5",
	"ee882879-721c-4913-9775-3dfcce97072a": "YubiKey 5",
	"fa2b99dc-9e39-4257-8f92-4a30d23c4118": "YubiKey 5 NFC",
	"2fc0579f-8113-47ea-b116-bb5a8db9202a": "YubiKey 5 NFC",
	"73bb0cd4-e502-49b8-9c6f-b59445bf720b": "YubiKey 5 FIPS",
	"c1f9a0bc-1dd2-404a-b27f-8e29047a43fd": "YubiKey 5 NFC FIPS",
	"c5ef55ff-ad9a-4b9f-b580-adebafe026d0": "YubiKey 5Ci",
	"d8522d9f-575b-4866-88a9-ba99fa02f35b": "YubiKey Bio",
	"f8a011f3-8c0a-4d15-8006-17111f9edc7d": "Security Key, Yubico",
	"b92c3f9a-c014-4056-887f-140a2501163b": "Security Key, Yubico",
	"6d44ba9b-f6ec-2e49-b930-0c8fe920cb73": "Security Key NFC, Yubico",
	"149a2021-8ef6-4133-96b8-81f8d5b7f1f5": "Security Key NFC, Yubico",
	"a4e9fc6d-4cbe-4758-b8ba-37598bb5bbaa": "Security Key NFC, Yubico",
	"42b4fb4a-2866-43b2-9bf7-6c6669c2e5d3": "Google Titan",
	"833b721a-ff5f-4d00-bb2e-bdda3ec01e29": "Feitian ePass FIDO2",
	"77010bd7-212a-4fc9-b236-d2ca5e9d4084": "Feitian BioPass FIDO2",
	"3e22415d-7fdf-4ea4-8a0c-dd60c4249b9d": "Feitian iePass FIDO",
	"8876631b-d4a0-427f-5773-0ec71c9e0279": "Solo",
}
