package templates

// ContactsList is the search over books and directory.
type ContactsList struct {
	Layout
	Query           string
	Cards           []ContactRow // of the person's books
	Colleagues      []ContactRow // of the directory
	Total           int          // cards that match
	First, Last     int          // of them on this page, from 1
	Previous, Next  string
	Failed          []string // books that cannot be read
	Unreadable      int      // cards that cannot be shown
	BooksFailed     bool
	DirectoryFailed bool
	Done            string // key of a sentence
	Writable        bool
}

func (ContactsList) Template() string { return "contacts_list.html" }

// ContactRow is one line of a list. Write leads to a new message, empty without
// an address.
type ContactRow struct {
	Name, Sub, Mail, Phone, Initials, Href, Write string
}

// ContactValue is an address or number; Kind is "work", "home", "cell" or empty.
type ContactValue struct {
	Value, Kind string
	Write       string // address of a new message
	Call        string // number for a tel: link
}

// ContactDetail is everything shown of one card or colleague.
type ContactDetail struct {
	Name, Initials, Org, Title, School, Note, Book string
	Emails, Phones                                 []ContactValue
	Address                                        []string
	ReadOnly, Group                                bool
}

// ContactsPerson is a colleague's page.
type ContactsPerson struct {
	Layout
	Colleague ContactDetail
	Keep      string // address of a new card with these facts
}

func (ContactsPerson) Template() string { return "contacts_person.html" }

// ContactsCard is a card's page.
type ContactsCard struct {
	Layout
	Card         ContactDetail
	Edit, Delete string
	Done         string
}

func (ContactsCard) Template() string { return "contacts_card.html" }

// ContactForm is what a person types, as typed.
type ContactForm struct {
	Given, Family, Org, JobTitle, Note string
	Emails, Phones                     []ContactValue
	Book, ETag                         string
	Problem                            string         // key of a sentence
	Other                              *ContactDetail // what somebody else saved meanwhile
	Gone                               bool           // the card was deleted meanwhile
}

// ContactBook is a book to choose.
type ContactBook struct{ ID, Name string }

// ContactsEdit is the form of a new or an existing card.
type ContactsEdit struct {
	Layout
	Form           ContactForm
	Action, Cancel string
	Books          []ContactBook
	BookName       string
	Existing       bool
}

func (ContactsEdit) Template() string { return "contacts_edit.html" }

// ContactsDelete asks before a card goes.
type ContactsDelete struct {
	Layout
	Card               ContactDetail
	Action, Back, ETag string
	Changed            bool
}

func (ContactsDelete) Template() string { return "contacts_delete.html" }
