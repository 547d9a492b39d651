package contacts

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/portal"
	"beffroi/portal/dav"
)

// maxEntries is how many cards of one book are kept and searched.
const maxEntries = 20_000

// A book is an address book with its name in addresses.
type book struct {
	dav.Collection
	ID string
}

// An entry is what lists show of a card.
type entry struct {
	name, mail, phone, org string
	path                   string
	book                   string
	folded                 string // what a search looks in, see fold
	sortKey                string

	uid        string
	group      bool
	members    []string // of a group: "urn:uuid:…" or "mailto:…"
	categories []string
}

// readBook remembers the cards of a book until its ctag changes.
type readBook struct {
	ctag       string
	at         time.Time
	entries    []entry
	unreadable int
}

// bookFor is how long cards are remembered of a server that gives no ctag.
const bookFor = 15 * time.Second

// list gives the person's books. Who has none that can be written gets one.
func (c *Contacts) list(ctx context.Context) ([]book, error) {
	client := c.portal.AddressBooks(ctx)
	found, err := client.Collections(ctx, dav.AddressBooks)
	if err != nil {
		return nil, err
	}
	writable := false
	for _, b := range found {
		writable = writable || !b.ReadOnly
	}
	if !writable {
		err := client.CreateAddressBook(ctx, "contacts", i18n.T(web.Lang(ctx), "contacts.book.first"))
		if errors.Is(err, dav.ErrUnavailable) {
			return nil, err
		} else if err == nil {
			if found, err = client.Collections(ctx, dav.AddressBooks); err != nil {
				return nil, err
			}
		}
	}
	var all []book
	for _, b := range found {
		sum := sha256.Sum256([]byte(b.Href))
		all = append(all, book{b, base64.RawURLEncoding.EncodeToString(sum[:9])})
	}
	return all, nil
}

// gathered is what the books hold.
type gathered struct {
	entries    []entry
	failed     []string // names of books that cannot be read
	unreadable int
}

// all reads the books side by side, from memory where nothing changed.
func (c *Contacts) all(ctx context.Context, books []book) gathered {
	var mu sync.Mutex
	var g gathered
	var wg sync.WaitGroup
	for _, b := range books {
		wg.Go(func() {
			read, err := c.read(ctx, b)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				g.failed = append(g.failed, b.Name)
				return
			}
			g.entries = append(g.entries, read.entries...)
			g.unreadable += read.unreadable
		})
	}
	wg.Wait()
	return g
}

func (c *Contacts) read(ctx context.Context, b book) (readBook, error) {
	key := portal.Who(ctx).Sub + " " + b.Href
	now := c.portal.Now()
	c.mu.Lock()
	known, ok := c.books[key]
	c.mu.Unlock()
	if ok && (b.CTag != "" && known.ctag == b.CTag || b.CTag == "" && now.Sub(known.at) < bookFor) {
		return known, nil
	}
	objects, err := c.portal.AddressBooks(ctx).Cards(ctx, b.Href)
	if err != nil {
		return readBook{}, err
	}
	fresh := readBook{ctag: b.CTag, at: now}
	for _, o := range objects {
		if len(fresh.entries) == maxEntries {
			break
		}
		card, err := dav.ParseCard(o.Data)
		switch {
		case errors.Is(o.Err, dav.ErrNotFound):
		case o.Err != nil, err != nil:
			fresh.unreadable++
		default:
			fresh.entries = append(fresh.entries, entryOf(card, b, o.Href))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, old := range c.books { // nobody's cards stay in memory for long
		if now.Sub(old.at) > 10*time.Minute {
			delete(c.books, k)
		}
	}
	c.books[key] = fresh
	return fresh, nil
}

func (c *Contacts) forget(ctx context.Context, b book) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.books, portal.Who(ctx).Sub+" "+b.Href)
}

func entryOf(card *dav.Card, b book, href string) entry {
	e := entry{name: card.Name(), org: card.Org(), path: cardPath(b.ID, href), book: b.Name, uid: strings.TrimPrefix(card.UID(), "urn:uuid:"), group: card.IsGroup(), members: card.Members(), categories: card.Categories()}
	words := []string{e.name, card.Given(), card.Family(), e.org, card.Title()}
	for i, v := range card.Emails() {
		if i == 0 {
			e.mail = v.Value
		}
		words = append(words, v.Value)
	}
	for i, v := range card.Phones() {
		if i == 0 {
			e.phone = v.Value
		}
		number := digits(v.Value)
		words = append(words, number)
		if rest, ok := strings.CutPrefix(number, "+33"); ok { // people type the national form
			words = append(words, "0"+rest)
		}
	}
	e.folded = fold(strings.Join(words, " "))
	e.sortKey = fold(strings.TrimSpace(card.Family() + " " + card.Given()))
	if e.sortKey == "" {
		e.sortKey = fold(e.name)
	}
	return e
}

func cardPath(bookID, href string) string {
	return "/contacts/card/" + bookID + "/" + base64.RawURLEncoding.EncodeToString([]byte(href[strings.LastIndexByte(href, '/')+1:]))
}

// target is the card that an address names.
type target struct {
	book   book
	href   string
	path   string
	stored dav.Object
	card   *dav.Card
}

// open reads the card of an address: only within the person's own books,
// whatever the address says. When the card is gone, the book is still told.
func (c *Contacts) open(r *http.Request) (target, error) {
	ctx := r.Context()
	books, err := c.list(ctx)
	if err != nil {
		return target{}, err
	}
	file, err := base64.RawURLEncoding.DecodeString(r.PathValue("object"))
	if err != nil || len(file) == 0 || strings.ContainsAny(string(file), "/?#\\") || strings.HasPrefix(string(file), ".") {
		return target{}, dav.ErrNotFound
	}
	for _, b := range books {
		if b.ID != r.PathValue("book") {
			continue
		}
		t := target{book: b, href: b.Href + string(file), path: cardPath(b.ID, b.Href+string(file))}
		if t.stored, err = c.portal.AddressBooks(ctx).Get(ctx, t.href); err != nil {
			return t, err
		}
		t.card, err = dav.ParseCard(t.stored.Data)
		return t, err
	}
	return target{}, dav.ErrNotFound
}
