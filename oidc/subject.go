package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// Subject types (OpenID Connect Core §8).
const (
	SubjectPublic   = "public"
	SubjectPairwise = "pairwise"
)

// subject is the sub that c knows the person by. It is the one way in which a
// person is named to an application: the directory's ID, or for a pairwise
// application a name that only its sector has (OpenID Connect Core §8.1).
//
// It cannot be turned back. What comes back from an application is compared
// with the subject of the person in question.
func (p *Provider) subject(c *Client, person string) string {
	if c.SubjectType != SubjectPairwise {
		return person
	}
	mac := hmac.New(sha256.New, p.salt)
	mac.Write([]byte(c.sector() + "|" + person)) // no host has a bar
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// sector is the host that pairwise subjects are made for; "" when it is not
// settled, which Validate refuses.
func (c *Client) sector() string {
	if c.SectorURI != "" {
		return hostOf(c.SectorURI)
	}
	host := ""
	for _, uri := range c.RedirectURIs {
		switch one := hostOf(uri); {
		case one == "" || host != "" && one != host:
			return ""
		default:
			host = one
		}
	}
	return host
}

// hostOf is the host of an address, without the port (§8.1: the host component).
func hostOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func (c Client) validateSubject(wrong func(key, format string, args ...any)) {
	if c.SectorURI != "" {
		if u, err := url.Parse(c.SectorURI); err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
			wrong("sector_identifier_uri", "%q must be an https address", c.SectorURI)
		}
	}
	if c.SubjectType == SubjectPairwise && c.sector() == "" {
		wrong("subject_type", "pairwise needs redirect_uris of one host, or sector_identifier_uri")
	}
}

// openSalt returns the salt of pairwise subjects, making it at the first start.
// It is kept apart from the signing keys: they are renewed, it never is.
func openSalt(ctx context.Context, d *db.DB, s *secret.Sealer, now func() time.Time) ([]byte, error) {
	const name = "pairwise salt"
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh)
	// Of replicas that start together, the first is heard.
	_, err := d.Exec(ctx, "INSERT INTO oidc_secret (name, sealed, created) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
		name, s.Seal("oidc secret "+name, string(fresh)), db.At(now()))
	if err != nil {
		return nil, fmt.Errorf("store the salt of pairwise subjects: %w", err)
	}
	var sealed string
	if err := d.QueryRow(ctx, "SELECT sealed FROM oidc_secret WHERE name = $1", name).Scan(&sealed); err != nil {
		return nil, fmt.Errorf("read the salt of pairwise subjects: %w", err)
	}
	salt, err := s.Open("oidc secret "+name, sealed)
	if err != nil {
		return nil, fmt.Errorf("open the salt of pairwise subjects: %w", err)
	}
	return []byte(salt), nil
}
