package portal

import (
	"net/url"
	"path"
	"strings"
)

// returnPath is where a sign-in leads back to: a path of this portal, or "/"
// for everything that a browser could read as another origin. Paths that
// belong to signing in and out lead to the launcher, and so do long ones: they
// travel in a cookie.
func returnPath(asked string) string {
	if asked == "" || len(asked) > 512 || asked[0] != '/' {
		return "/"
	}
	for _, c := range asked {
		// A backslash is a slash for browsers; tabs and line ends are dropped by them.
		if c == '\\' || c < 0x21 || c == 0x7f {
			return "/"
		}
	}
	u, err := url.Parse(asked)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return "/"
	}
	if strings.ContainsAny(u.Path, "\\\t\r\n") || strings.HasPrefix(path.Clean(u.Path), "//") || strings.Contains(u.Path, "//") {
		return "/"
	}
	switch strings.SplitN(path.Clean(u.Path)[1:], "/", 2)[0] {
	case "login", "callback", "logout", "signed-out", "static", "language":
		return "/"
	}
	return asked
}
