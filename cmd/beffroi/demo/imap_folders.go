package demo

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

const folderDelim = '/'

// Create makes a folder, with its special use if one is given (RFC 6154 §3,
// whose answer to a use it cannot give is USEATTR).
func (c *imapSession) Create(name string, options *imap.CreateOptions) error {
	name = strings.TrimRight(name, "/")
	if !validFolderName(name) {
		return refusal(imap.ResponseCodeCannot, "Not a folder name")
	}
	c.drop.mu.Lock()
	defer c.drop.mu.Unlock()
	if c.drop.folders[name] != nil {
		return refusal(imap.ResponseCodeAlreadyExists, "The folder exists")
	}
	if len(c.drop.folders) >= mostFolders {
		return refusal(imap.ResponseCodeLimit, "Too many folders")
	}
	for _, use := range options.SpecialUse {
		if !slices.Contains(specialUses, use) || c.drop.hasUse(use) {
			return refusal("USEATTR", "That use is not known or already taken")
		}
	}
	c.drop.create(name, options.SpecialUse)
	return nil
}

var specialUses = []imap.MailboxAttr{
	imap.MailboxAttrArchive, imap.MailboxAttrDrafts, imap.MailboxAttrJunk, imap.MailboxAttrSent, imap.MailboxAttrTrash,
}

func (d *maildrop) hasUse(use imap.MailboxAttr) bool {
	for _, f := range d.folders {
		if slices.Contains(f.use, use) {
			return true
		}
	}
	return false
}

func validFolderName(name string) bool {
	return name != "" && len(name) <= 250 && !strings.HasPrefix(name, "/") && !strings.Contains(name, "//") && !strings.ContainsAny(name, "*%\x00\r\n")
}

// Delete removes a folder without folders below it; never INBOX.
func (c *imapSession) Delete(name string) error {
	c.drop.mu.Lock()
	defer c.drop.mu.Unlock()
	if name == "INBOX" {
		return refusal(imap.ResponseCodeCannot, "INBOX stays")
	}
	if c.drop.hasChildren(name) {
		return refusal(imap.ResponseCodeHasChildren, "The folder holds folders")
	}
	if err := c.UserSession.Delete(name); err != nil {
		return err
	}
	delete(c.drop.folders, name)
	return nil
}

// Rename takes the folders below along (RFC 3501 §6.3.5). INBOX stays: its
// special rename is not served here.
func (c *imapSession) Rename(oldName, newName string, options *imap.RenameOptions) error {
	newName = strings.TrimRight(newName, "/")
	c.drop.mu.Lock()
	defer c.drop.mu.Unlock()
	switch {
	case oldName == "INBOX" || !validFolderName(newName) || strings.HasPrefix(newName, oldName+"/"):
		return refusal(imap.ResponseCodeCannot, "That folder cannot be renamed so")
	case c.drop.folders[oldName] == nil:
		return refusal(imap.ResponseCodeNonExistent, "No such folder")
	case c.drop.folders[newName] != nil:
		return refusal(imap.ResponseCodeAlreadyExists, "The folder exists")
	}
	if i := strings.LastIndexByte(newName, '/'); i > 0 {
		c.drop.create(newName[:i], nil)
	}
	for _, name := range c.drop.names() {
		rest, below := strings.CutPrefix(name, oldName)
		if !below || (rest != "" && rest[0] != folderDelim) {
			continue
		}
		if err := c.UserSession.Rename(name, newName+rest, options); err != nil {
			return err
		}
		c.drop.folders[newName+rest] = c.drop.folders[name]
		delete(c.drop.folders, name)
	}
	return nil
}

func (c *imapSession) Subscribe(name string) error { return c.subscribe(name, true) }

func (c *imapSession) Unsubscribe(name string) error { return c.subscribe(name, false) }

func (c *imapSession) subscribe(name string, to bool) error {
	c.drop.mu.Lock()
	defer c.drop.mu.Unlock()
	f := c.drop.folders[name]
	if f == nil {
		return refusal(imap.ResponseCodeNonExistent, "No such folder")
	}
	f.subscribed = to
	return nil
}

// List answers LIST, LIST-EXTENDED and LSUB. Special uses are told whether
// asked for or not, as Dovecot does and RFC 6154 §2 allows.
func (c *imapSession) List(w *imapserver.ListWriter, ref string, patterns []string, options *imap.ListOptions) error {
	if len(patterns) == 0 {
		return w.WriteList(&imap.ListData{Attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}, Delim: folderDelim})
	}
	for _, data := range c.drop.list(ref, patterns, options) {
		if options.ReturnStatus != nil {
			status, err := c.UserSession.Status(data.Mailbox, options.ReturnStatus)
			if err != nil {
				continue // deleted meanwhile
			}
			data.Status = status
		}
		if err := w.WriteList(&data); err != nil {
			return err
		}
	}
	return nil
}

func (d *maildrop) list(ref string, patterns []string, options *imap.ListOptions) []imap.ListData {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []imap.ListData
	for _, name := range d.names() {
		f := d.folders[name]
		matches := slices.ContainsFunc(patterns, func(p string) bool { return imapserver.MatchList(name, folderDelim, ref, p) })
		if !matches || (options.SelectSubscribed && !f.subscribed) || (options.SelectSpecialUse && len(f.use) == 0) {
			continue
		}
		data := imap.ListData{Mailbox: name, Delim: folderDelim, Attrs: slices.Clone(f.use)}
		if d.hasChildren(name) {
			data.Attrs = append(data.Attrs, imap.MailboxAttrHasChildren)
		} else {
			data.Attrs = append(data.Attrs, imap.MailboxAttrHasNoChildren)
		}
		if f.subscribed && (options.ReturnSubscribed || options.SelectSubscribed) {
			data.Attrs = append(data.Attrs, imap.MailboxAttrSubscribed)
		}
		found = append(found, data)
	}
	return found
}

func (d *maildrop) hasChildren(name string) bool {
	for other := range d.folders {
		if strings.HasPrefix(other, name+string(folderDelim)) {
			return true
		}
	}
	return false
}
