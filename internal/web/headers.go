package web

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"beffroi/templates"
)

// headers sets what every page of the site carries. A handler that needs
// another policy (the mail document) replaces it before it writes.
func (s *Site) headers(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", s.policy())
	h.Set("X-Content-Type-Options", "nosniff")
	// no-referrer would turn Origin into "null" on forms over plain http.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
	if s.cfg.BaseURL != nil && s.cfg.BaseURL.Scheme == "https" {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

func (s *Site) policy() string {
	frames := "'none'"
	if len(s.cfg.FrameSrc) > 0 {
		frames = strings.Join(s.cfg.FrameSrc, " ")
	}
	actions := strings.Join(append([]string{"'self'"}, s.cfg.FormAction...), " ")
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action " +
		actions + "; frame-src " + frames + "; frame-ancestors 'none'; base-uri 'none'"
}

// AllowFormAction lets the forms of this answer end at further origins.
// Chromium applies form-action to the redirects after a POST as well, so a
// sign-in form must name the application that it leads to. Call it before
// anything is written. Values that are not plain origins are left out: they
// could break out of the policy.
func AllowFormAction(w http.ResponseWriter, origins ...string) {
	allow(w, "form-action", origins)
}

// AllowImages lets this answer show pictures of further origins, such as the
// logo of an application. What holds for AllowFormAction holds here.
func AllowImages(w http.ResponseWriter, origins ...string) {
	allow(w, "img-src", origins)
}

// AllowFrames lets this answer load the frames: their origins and no other.
func AllowFrames(w http.ResponseWriter, frames []templates.Frame) {
	var origins []string
	for _, f := range frames {
		if u, err := url.Parse(f.URL); err == nil {
			origins = append(origins, u.Scheme+"://"+u.Host)
		}
	}
	allow(w, "frame-src", origins)
}

// allow adds sources to one directive of the answer's policy.
func allow(w http.ResponseWriter, directive string, origins []string) {
	directives := strings.Split(w.Header().Get("Content-Security-Policy"), "; ")
	for i, d := range directives {
		if !strings.HasPrefix(d, directive+" ") {
			continue
		}
		for _, o := range origins {
			if isOrigin(o) && !slices.Contains(strings.Fields(directives[i]), o) {
				directives[i] = strings.TrimSuffix(directives[i], " 'none'") + " " + o
			}
		}
		w.Header().Set("Content-Security-Policy", strings.Join(directives, "; "))
	}
}

// appScheme is the scheme of an application on a telephone, a domain name
// reversed (RFC 8252 §7.1), as a source of the policy.
var appScheme = regexp.MustCompile(`^[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+:$`)

func isOrigin(s string) bool {
	if appScheme.MatchString(s) {
		return true
	}
	scheme, host, ok := strings.Cut(s, "://")
	if !ok || host == "" || scheme == "" {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".-:/[]*+", c) {
			return false
		}
	}
	return !strings.Contains(host, "/")
}

// realIP is the visitor's address: the connection's, or, when that is a trusted
// proxy, the last address in X-Forwarded-For that no trusted proxy has. What
// the visitor wrote in the header stands left of it and is never believed.
func realIP(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	ip := peer.Addr().Unmap()
	if !within(ip, trusted) {
		return ip
	}
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(forwarded) - 1; i >= 0; i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(forwarded[i]))
		if err != nil {
			break
		}
		ip = next.Unmap()
		if !within(ip, trusted) {
			break
		}
	}
	return ip
}

func within(ip netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
