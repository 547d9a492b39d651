package demo

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// What one person may keep.
const (
	mostMessages  = 5_000
	mostMailBytes = 256 << 20
	mostFolders   = 200
)

var errOverQuota = errors.New("the mailbox is full")

// postOffice finds a person's mail by login or by address.
type postOffice struct {
	byLogin   map[string]*maildrop
	byAddress map[string]*maildrop
}

func newPostOffice(people []Account, now func() time.Time) (*postOffice, error) {
	p := &postOffice{byLogin: make(map[string]*maildrop, len(people)), byAddress: make(map[string]*maildrop, 2*len(people))}
	start := now()
	everyone := newDirectoryOfNames(people)
	for _, person := range people {
		drop := &maildrop{account: person, folders: make(map[string]*folder)}
		drop.fill = func() []sampleFolder { return sampleMail(person, everyone, start) }
		if p.byLogin[person.Login] != nil {
			return nil, fmt.Errorf("demo mail: two persons called %q", person.Login)
		}
		p.byLogin[person.Login] = drop
		for _, address := range person.Addresses() {
			if other := p.byAddress[address]; other != nil {
				return nil, fmt.Errorf("demo mail: %s belongs to %q and to %q", address, other.account.Login, person.Login)
			}
			p.byAddress[address] = drop
		}
	}
	for name, service := range services {
		if drop, address := p.byLogin[service.reader], name+"@"+MailDomain; drop != nil && p.byAddress[address] == nil {
			p.byAddress[address] = drop
		}
	}
	return p, nil
}

func (p *postOffice) of(login string) *maildrop { return p.byLogin[login] }

func (p *postOffice) at(address string) *maildrop { return p.byAddress[strings.ToLower(address)] }

// maildrop is the mail of one person. imapmemserver keeps the messages; what it
// neither stores nor announces is kept here: special uses (RFC 6154),
// subscriptions, the hierarchy of folders, a quota.
type maildrop struct {
	account Account
	fill    func() []sampleFolder
	once    sync.Once

	mu      sync.Mutex // guards folders, and orders copies: the library locks two mailboxes in turn
	user    *imapmemserver.User
	folders map[string]*folder
}

type folder struct {
	use        []imap.MailboxAttr
	subscribed bool
}

// open fills the mailbox at the first call.
func (d *maildrop) open() *imapmemserver.User {
	d.once.Do(func() {
		d.user = imapmemserver.NewUser(d.account.Login, "")
		for _, f := range standardFolders {
			d.create(f.name, f.use)
		}
		for _, f := range d.fill() {
			d.create(f.name, nil)
			for _, m := range f.messages {
				// Appending to memory fails for missing folders only.
				_, _ = d.user.Append(f.name, literal(m.raw), &imap.AppendOptions{Flags: m.flags, Time: m.received})
			}
		}
	})
	return d.user
}

var standardFolders = []struct {
	name string
	use  []imap.MailboxAttr
}{
	{"INBOX", nil},
	{"Drafts", []imap.MailboxAttr{imap.MailboxAttrDrafts}},
	{"Sent", []imap.MailboxAttr{imap.MailboxAttrSent}},
	{"Archives", []imap.MailboxAttr{imap.MailboxAttrArchive}},
	{"Junk", []imap.MailboxAttr{imap.MailboxAttrJunk}},
	{"Trash", []imap.MailboxAttr{imap.MailboxAttrTrash}},
}

// create makes a folder and the folders above it; one that stands is left alone.
func (d *maildrop) create(name string, use []imap.MailboxAttr) {
	for i := range len(name) {
		if name[i] == '/' {
			d.create(name[:i], nil)
		}
	}
	if d.folders[name] != nil {
		return
	}
	if err := d.user.Create(name, &imap.CreateOptions{}); err == nil {
		d.folders[name] = &folder{use: use, subscribed: true}
	}
}

// deliver puts a message into the person's INBOX.
func (d *maildrop) deliver(raw []byte, when time.Time) error {
	user := d.open()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.room(1, int64(len(raw))); err != nil {
		return err
	}
	_, err := user.Append("INBOX", literal(raw), &imap.AppendOptions{Time: when})
	return err
}

// room tells whether n more messages of that many bytes together still fit.
// d.mu is held.
func (d *maildrop) room(n int, size int64) error {
	count, total := uint32(n), size
	for name := range d.folders {
		status, err := d.user.Status(name, &imap.StatusOptions{NumMessages: true, Size: true})
		if err != nil {
			return err
		}
		count += *status.NumMessages
		total += *status.Size
	}
	if count > mostMessages || total > mostMailBytes {
		return errOverQuota
	}
	return nil
}

func (d *maildrop) names() []string {
	names := make([]string, 0, len(d.folders))
	for name := range d.folders {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// servable tells whether the IMAP library can describe the message: it panics
// on a multipart without any part, and one such mail would then close every
// connection that lists its folder.
func servable(raw []byte) bool {
	var whole func(imap.BodyStructure) bool
	whole = func(bs imap.BodyStructure) bool {
		switch bs := bs.(type) {
		case *imap.BodyStructureMultiPart:
			for _, child := range bs.Children {
				if !whole(child) {
					return false
				}
			}
			return len(bs.Children) > 0
		case *imap.BodyStructureSinglePart:
			return bs.MessageRFC822 == nil || whole(bs.MessageRFC822.BodyStructure)
		}
		return true
	}
	return whole(imapserver.ExtractBodyStructure(bytes.NewReader(raw)))
}

type literalBytes struct{ *bytes.Reader }

func literal(raw []byte) imap.LiteralReader { return literalBytes{bytes.NewReader(raw)} }

func (l literalBytes) Size() int64 { return l.Reader.Size() }
