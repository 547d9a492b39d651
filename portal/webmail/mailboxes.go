package webmail

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"golang.org/x/text/unicode/norm"
)

// Roles a mailbox can have, in the order of the list.
const (
	roleInbox   = "inbox"
	roleDrafts  = "drafts"
	roleSent    = "sent"
	roleArchive = "archive"
	roleJunk    = "junk"
	roleTrash   = "trash"
	roleSnoozed = "snoozed" // ours: messages that come back
)

var roles = []string{roleInbox, roleSnoozed, roleDrafts, roleSent, roleArchive, roleJunk, roleTrash}

// roleNames serve servers that tell no special use (RFC 6154), and accounts
// whose folders another program made. The first one is what we create.
var roleNames = map[string][]string{
	roleSnoozed: {"Snoozed"},
	roleDrafts:  {"Drafts", "Draft", "Brouillons", "Brouillon"},
	roleSent:    {"Sent", "Sent Items", "Sent Messages", "Sent Mail", "Envoyés", "Éléments envoyés", "Messages envoyés", "Courrier envoyé"},
	roleArchive: {"Archive", "Archives", "All Mail"},
	roleJunk:    {"Junk", "Spam", "Junk E-mail", "Indésirables", "Courrier indésirable", "Pourriel"},
	roleTrash:   {"Trash", "Deleted Items", "Deleted Messages", "Deleted", "Corbeille", "Éléments supprimés", "Messages supprimés"},
}

var roleAttrs = map[imap.MailboxAttr]string{
	imap.MailboxAttrDrafts: roleDrafts, imap.MailboxAttrSent: roleSent, imap.MailboxAttrArchive: roleArchive,
	imap.MailboxAttrJunk: roleJunk, imap.MailboxAttrTrash: roleTrash,
}

// mailbox is one folder of the person.
type mailbox struct {
	name      string // as IMAP knows it, in UTF-8
	delimiter string
	role      string // "" for the person's own
	shared    bool   // by somebody else
	root      bool   // a prefix of such mailboxes
	openable  bool
	counted   bool // messages and unseen are known
	messages  uint32
	unseen    uint32
	depth     int    // under its first ancestor in the list
	label     string // last part of the name
}

// mailboxes lists the folders with their counts: one command where the server
// knows LIST-STATUS, else one more round trip for all the STATUS together.
func mailboxes(c *conn) ([]mailbox, error) {
	caps := c.Caps()
	options := &imap.ListOptions{}
	counts := &imap.StatusOptions{NumMessages: true, NumUnseen: true}
	if caps.Has(imap.CapSpecialUse) {
		options.ReturnSpecialUse = true
	}
	if caps.Has(imap.CapListStatus) {
		options.ReturnStatus = counts
	}
	if !caps.Has(imap.CapListExtended) && !caps.Has(imap.CapIMAP4rev2) && options.ReturnStatus == nil {
		options.ReturnSpecialUse = false // the answer still carries the attributes
	}
	listed, err := c.List("", "*", options).Collect()
	if err != nil {
		return nil, err
	}
	if err := c.readNamespaces(); err != nil {
		return nil, err
	}
	var all []mailbox
	for _, l := range listed {
		absent := slices.Contains(l.Attrs, imap.MailboxAttrNonExistent)
		if absent && !slices.Contains(l.Attrs, imap.MailboxAttrHasChildren) || len(all) >= 2000 {
			continue
		}
		m := mailbox{name: l.Mailbox, openable: !absent && !slices.Contains(l.Attrs, imap.MailboxAttrNoSelect)}
		if l.Delim != 0 {
			m.delimiter = string(l.Delim)
		}
		for _, prefix := range c.others {
			m.shared = m.shared || strings.HasPrefix(m.name+m.delimiter, prefix)
			m.root = m.root || m.name+m.delimiter == prefix && !slices.ContainsFunc(c.others, func(other string) bool { return len(other) < len(prefix) && strings.HasPrefix(prefix, other) })
		}
		if strings.EqualFold(m.name, "INBOX") {
			m.name, m.role = "INBOX", roleInbox
		}
		for _, a := range l.Attrs {
			if role := roleAttrs[a]; role != "" && m.role == "" {
				m.role = role
			}
		}
		if l.Status != nil {
			m.counted, m.messages, m.unseen = true, value(l.Status.NumMessages), value(l.Status.NumUnseen)
		}
		all = append(all, m)
	}
	if options.ReturnStatus == nil {
		if err := countAll(c, all, counts); err != nil {
			return nil, err
		}
	}
	all = append(all, missingOwners(c.others, all)...)
	giveRoles(all)
	arrange(all)
	return all, nil
}

// missingOwners are the names above what others share that a server leaves out of
// its list.
func missingOwners(prefixes []string, all []mailbox) (more []mailbox) {
	known := map[string]bool{}
	for _, m := range all {
		known[m.name] = true
	}
	for _, m := range all {
		for _, prefix := range prefixes {
			rest, ok := strings.CutPrefix(m.name, prefix)
			if !ok || m.delimiter == "" {
				continue
			}
			person, _, below := strings.Cut(rest, m.delimiter)
			if name := prefix + person; below && !known[name] {
				known[name] = true
				more = append(more, mailbox{name: name, delimiter: m.delimiter, shared: true})
			}
		}
	}
	return more
}

// readNamespaces asks once where the mailboxes of others stand (RFC 2342).
func (c *conn) readNamespaces() error {
	if c.others != nil {
		return nil
	}
	c.others = []string{}
	if !c.Caps().Has(imap.CapNamespace) || !c.Caps().Has(imap.CapACL) {
		return nil
	}
	data, err := c.Namespace().Wait()
	if err != nil {
		if keepsConnection(err) {
			return nil
		}
		return err
	}
	for _, n := range slices.Concat(data.Other, data.Shared) {
		if n.Prefix != "" {
			c.others = append(c.others, n.Prefix)
		}
	}
	return nil
}

func value(n *uint32) uint32 {
	if n == nil {
		return 0
	}
	return *n
}

// countAll sends every STATUS before it waits for the first answer.
func countAll(c *conn, all []mailbox, counts *imap.StatusOptions) error {
	var asked []*imapclient.StatusCommand
	var at []int
	for i, m := range all {
		if m.openable && len(asked) < 100 {
			asked, at = append(asked, c.Status(m.name, counts)), append(at, i)
		}
	}
	var broken error
	for i, command := range asked {
		data, err := command.Wait()
		if err == nil {
			all[at[i]].counted, all[at[i]].messages, all[at[i]].unseen = true, value(data.NumMessages), value(data.NumUnseen)
		} else if !keepsConnection(err) {
			broken = err
		}
	}
	return broken
}

// giveRoles guesses by name the roles that the server did not tell. A role has
// one mailbox.
func giveRoles(all []mailbox) {
	taken := map[string]bool{}
	for i := range all {
		if taken[all[i].role] {
			all[i].role = ""
		}
		if all[i].role != "" {
			taken[all[i].role] = true
		}
	}
	for _, role := range roles {
		if taken[role] {
			continue
		}
		for _, name := range roleNames[role] {
			for i := range all {
				leaf := all[i].name
				if rest, ok := strings.CutPrefix(leaf, "INBOX"+all[i].delimiter); ok && all[i].delimiter != "" {
					leaf = rest
				}
				if all[i].role == "" && all[i].openable && !taken[role] && fold(leaf) == fold(name) {
					all[i].role = role
					taken[role] = true
				}
			}
		}
	}
}

// fold makes names comparable: without case and accents.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFD.String(s))
}

// arrange orders the folders: those with a role first, each followed by what
// lies below it, then the person's own by name.
func arrange(all []mailbox) {
	byName := map[string]*mailbox{}
	for i := range all {
		byName[all[i].name] = &all[i]
	}
	type place struct {
		rank int
		path []string
	}
	places := map[string]place{}
	for i := range all {
		m := &all[i]
		segments := []string{m.name}
		if m.delimiter != "" {
			segments = strings.Split(m.name, m.delimiter)
		}
		m.label = segments[len(segments)-1]
		p := place{rank: len(roles)}
		if m.shared {
			p.rank++
		}
		start := 0
		for n := len(segments); n > 0; n-- { // the nearest ancestor with a role takes it along
			ancestor := byName[strings.Join(segments[:n], m.delimiter)]
			if ancestor != nil && ancestor.role != "" && (ancestor.role != roleInbox || n == len(segments)) {
				p.rank, start = slices.Index(roles, ancestor.role), n
				break
			}
		}
		if start == 0 && len(segments) > 1 && strings.EqualFold(segments[0], "INBOX") {
			start = 1 // servers that keep everything under INBOX
			segments = segments[1:]
			m.depth = len(segments) - 1
			start = 0
		} else if start > 0 {
			m.depth = len(segments) - start
		} else {
			m.depth = len(segments) - 1
		}
		for _, s := range segments[start:] {
			p.path = append(p.path, fold(s))
		}
		places[m.name] = p
	}
	slices.SortStableFunc(all, func(a, b mailbox) int {
		pa, pb := places[a.name], places[b.name]
		return cmp.Or(cmp.Compare(pa.rank, pb.rank), slices.Compare(pa.path, pb.path), strings.Compare(a.name, b.name))
	})
}

// withRole is the mailbox of a role, nil when the person has none.
func withRole(all []mailbox, role string) *mailbox {
	for i := range all {
		if all[i].role == role {
			return &all[i]
		}
	}
	return nil
}

// ensureRole is the name of the mailbox of a role, made when there is none.
func (s *service) ensureRole(ctx context.Context, who owner, role string) (string, error) {
	var name string
	err := s.pools.Do(ctx, who, "", writes, func(c *conn) error {
		all, err := mailboxes(c)
		if err != nil {
			return err
		}
		if m := withRole(all, role); m != nil {
			name = m.name
			return nil
		}
		name = roleNames[role][0]
		if inbox := withRole(all, roleInbox); inbox != nil && inbox.delimiter != "" && everythingUnderInbox(all) {
			name = "INBOX" + inbox.delimiter + name
		}
		options := &imap.CreateOptions{}
		if c.Caps().Has(imap.CapCreateSpecialUse) {
			for attr, r := range roleAttrs {
				if r == role {
					options.SpecialUse = []imap.MailboxAttr{attr}
				}
			}
		}
		err = c.Create(name, options).Wait()
		var no *imap.Error
		if errors.As(err, &no) && no.Code == imap.ResponseCodeAlreadyExists {
			return nil
		}
		if err != nil {
			return err
		}
		return c.Subscribe(name).Wait()
	})
	return name, err
}

// ensureBelow is the name of a mailbox below another, made when there is none; the
// other itself where the server has no levels.
func (s *service) ensureBelow(ctx context.Context, who owner, parent, leaf string) (name string, err error) {
	err = s.pools.Do(ctx, who, "", writes, func(c *conn) error {
		listed, err := c.List("", parent, nil).Collect()
		if err != nil {
			return err
		}
		name = parent
		if len(listed) == 0 || listed[0].Delim == 0 || slices.Contains(listed[0].Attrs, imap.MailboxAttrNoInferiors) {
			return nil
		}
		name = parent + string(listed[0].Delim) + leaf
		err = c.Create(name, nil).Wait()
		var no *imap.Error
		if errors.As(err, &no) { // it is there; or the move says why it is not
			return nil
		}
		if err != nil {
			return err
		}
		return c.Subscribe(name).Wait()
	})
	return name, err
}

// holds tells whether a mailbox is this one, or below it.
func (m mailbox) holds(name string) bool {
	return name == m.name || m.delimiter != "" && strings.HasPrefix(name, m.name+m.delimiter)
}

func everythingUnderInbox(all []mailbox) bool {
	below := 0
	for _, m := range all {
		if m.role == roleInbox {
			continue
		}
		if !strings.HasPrefix(m.name, "INBOX"+m.delimiter) {
			return false
		}
		below++
	}
	return below > 0
}

// Mailbox names in addresses: JSON-pointer escapes keep "/" out of the path
// (proxies decode %2F), and a leading dot from being cleaned away.
var (
	slugEscape   = strings.NewReplacer("~", "~0", "/", "~1")
	slugUnescape = strings.NewReplacer("~1", "/", "~2", ".", "~0", "~")
)

func slug(name string) string {
	s := slugEscape.Replace(name)
	if strings.HasPrefix(s, ".") {
		s = "~2" + s[1:]
	}
	return s
}

func unslug(s string) string { return slugUnescape.Replace(s) }
