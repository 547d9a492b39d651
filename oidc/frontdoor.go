package oidc

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"

	"github.com/ory/fosite"
)

// What an authorization request may measure: in an address, and in plain form
// as it is kept across a sign-in, which is what signin takes (16 KiB). State may
// be as long as that leaves room for.
const (
	maxAddress = 12 << 10
	keptMost   = 16 << 10
)

// postedForm reads the body of a request by an application: POST,
// application/x-www-form-urlencoded, at most 64 KiB (the site's limit), each
// parameter once (RFC 6749 §3.2) but those of but. Nothing is read from the
// address: secrets there end in logs.
func postedForm(r *http.Request, but ...string) (url.Values, error) {
	if r.Method != http.MethodPost {
		return nil, refused(fosite.ErrInvalidRequest, "only POST is answered here")
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, refused(fosite.ErrInvalidRequest, "the body must be application/x-www-form-urlencoded")
	}
	if err := r.ParseForm(); err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return nil, err
		}
		return nil, refused(fosite.ErrInvalidRequest, "the body is not a form").WithWrap(err)
	}
	if name := repeated(r.PostForm, but...); name != "" {
		return nil, refused(fosite.ErrInvalidRequest, "the parameter %s stands twice", name)
	}
	return r.PostForm, nil
}

// repeated returns the name of a parameter that stands more than once and is
// none of but.
func repeated(form url.Values, but ...string) string {
	for name, values := range form {
		if len(values) > 1 && !slices.Contains(but, name) {
			return short(name)
		}
	}
	return ""
}
