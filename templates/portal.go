package templates

import "time"

// PortalHome is the launcher: who is here, what the day holds, which tools open.
type PortalHome struct {
	Layout
	Name        string
	Today       time.Time
	Modules     []PortalTile
	Groups      []PortalTiles
	TilesFailed bool   // the provider did not list the tools
	Help        string // whom to ask, may be empty
}

func (PortalHome) Template() string { return "portal_home.html" }

// PortalTiles are the tools of one category.
type PortalTiles struct {
	Name  string
	Tiles []PortalTile
}

// PortalTile is one tool.
type PortalTile struct {
	Name, Description, Home, Icon string
	Badge                         string // path of a fragment for the strip, may be empty
	Strong                        bool   // asks for a second factor
	Outside                       bool   // leads to another site
}

// PortalOffline says that there is no network; the installed portal keeps it.
type PortalOffline struct{ Layout }

func (PortalOffline) Template() string { return "portal_offline.html" }

// PortalSignedOut says that the session is over.
type PortalSignedOut struct{ Layout }

func (PortalSignedOut) Template() string { return "portal_signed_out.html" }

// PortalExpired answers a form that was sent after the session had ended.
type PortalExpired struct{ Layout }

func (PortalExpired) Template() string { return "portal_expired.html" }
