package templates

import (
	"slices"
	"time"
)

// WebmailBox is a mailbox: the folders, one page of the list and, when a
// message is open, the message.
type WebmailBox struct {
	Layout
	Folders  []MailFolder
	Box      MailBox
	Rows     []MailRow
	From, To int // numbers of the first and last row, newest is 1
	Total    int
	Newer    string // address, "" at the end
	Older    string
	Message  *MailMessage
	Notice   *MailNotice
	Outbox   []MailWaiting
}

func (WebmailBox) Template() string { return "webmail_box.html" }

// WebmailReading is the reading pane alone, for the script that swaps it.
type WebmailReading struct {
	Layout
	Box     MailBox
	Message *MailMessage
}

func (WebmailReading) Template() string { return "webmail_reading" }

// WebmailCompose is the page to write on.
type WebmailCompose struct {
	Layout
	Folders []MailFolder
	Outbox  []MailWaiting
	Notice  *MailNotice

	ID, Kind, Source, Draft string // what the form carries along
	InReplyTo, References   string
	From                    MailAddress
	As                      string       // key of the identity
	Senders                 []MailChoice // identities to choose from; none when there is one
	To, Cc, Bcc             string
	Subject, Text           string
	HTML                    string // what the editor begins with
	Threshold, UploadMost   int64  // bytes from which a file, and all of them, become links; 0: they do not
	Links                   []MailLink
	LinkCode, LinkDays      string
	LinkChoices             []int
	Receipt                 bool // one is asked for
	Remind                  int  // days after which one hears when no answer came, 0 for not
	Reminders               []int
	Inserts                 []MailInsert
	Plain                   bool // plain text is written, without the editor
	Kept                    []MailKept
	Back                    string // where "cancel" leads
	More                    bool   // Cc and Bcc are shown open
	Focus                   string // "to", "text": the field to begin in

	Error        string // key of the sentence above the form, "" when none
	ErrorDetail  string // the server's own words
	ErrorField   string // "to", "cc", "bcc", "files": the field it is about
	ErrorSubject string // what {what} is in the sentence
	Saved        string // how the text was put aside: "draft", "kept" or ""
	SavedAt      time.Time
	Sure         bool         // sent as it is, next time
	Moments      []MailMoment // to send later
	At           string       // as typed
	MaxUpload    string
}

func (WebmailCompose) Template() string { return "webmail_compose.html" }

// WebmailOutbox is what is not sent yet, as part of a page.
type WebmailOutbox struct {
	Layout
	Outbox []MailWaiting
}

func (WebmailOutbox) Template() string { return "webmail_outbox" }

// WebmailBadge is the launcher's fragment.
type WebmailBadge struct {
	Layout
	Unread int
}

func (WebmailBadge) Template() string { return "webmail_badge.html" }

// WebmailSearch is what was found over all mailboxes.
type WebmailSearch struct {
	Layout
	Folders        []MailFolder
	Query          string
	Chips, Offered []MailChip // conditions, to take off and to add
	Boxes          []string   // to choose from
	Found          []MailFound
	Total          int
	Newer, Older   string
	Labels         []MailLabel // to choose from
	Kept           []MailSearchKept
	IsKept         bool     // this one is among them
	Empty          bool     // nothing was looked for
	Problem        string   // what of the search was not understood
	Partly, Failed []string // mailboxes where only names and subjects, or nothing, were looked at
}

func (WebmailSearch) Template() string { return "webmail_search.html" }

// MailSearchKept is a search that was kept.
type MailSearchKept struct {
	ID, Query, Href string
	Current         bool
}

// MailFound is a message that was found.
type MailFound struct {
	Href, Who, Subject, Preview string
	Date                        time.Time
	Unread, Flagged, Attachment bool
	Box, Icon                   string
	Labels                      []MailLabel
}

// WebmailConversation lists the messages of a conversation, oldest first, over
// all mailboxes: as a page, and as the part of a message's page.
type WebmailConversation struct {
	Layout
	Part     bool
	Folders  []MailFolder
	Back     string // the message that it was asked from
	Messages []MailTurn
	More     int // older ones that are left out
}

func (w WebmailConversation) Template() string {
	if w.Part {
		return "webmail_turns"
	}
	return "webmail_conversation.html"
}

// MailTurn is one message of a conversation.
type MailTurn struct {
	Href, Who, Preview string
	Date               time.Time
	Box                string // where it lies, when that is not where one came from
	Icon               string
	Mine               bool // sent from here
	Unread, Current    bool
}

// WebmailSenders lists whose remote pictures are shown.
type WebmailSenders struct {
	Layout
	Folders []MailFolder
	Senders []MailSender
}

func (WebmailSenders) Template() string { return "webmail_senders.html" }

// MailSender is an address, or all of a domain.
type MailSender struct {
	Value, Name string
	Domain      bool
	Since       time.Time
}

// WebmailSender is what can be said about who wrote a message, as part of its page.
// State is "colleague" (verified), "doubtful" (a colleague's address, and not from
// there), "imitates" (a colleague's name, another's address), "address" (the name
// shows another address) or "".
type WebmailSender struct {
	Layout
	State, Name, About, Mail string
}

func (WebmailSender) Template() string { return "webmail_sender" }

// WebmailQuota is how full the mailbox is, as part of a page. Most is "" where
// there is no limit.
type WebmailQuota struct {
	Layout
	Share      int // percent
	Used, Most string
}

func (WebmailQuota) Template() string { return "webmail_quota" }

// WebmailSettings leads to the pages where the webmail is set.
type WebmailSettings struct {
	Layout
	Folders []MailFolder
	Links   []MailSetting
}

func (WebmailSettings) Template() string { return "webmail_settings.html" }

// MailSetting is one of these pages; Title and Hint are keys.
type MailSetting struct{ Title, Hint, Icon, Href string }

// WebmailFilters lists the rules of the filters.
type WebmailFilters struct {
	Layout
	Folders  []MailFolder
	Version  string // of what is shown
	Rules    []MailRule
	Changed  bool     // another program has edited them
	Foreign  string   // script of another program that runs in their place, "" for none
	Includes []string // scripts of other programs that run after them
	Done     string   // "saved" or ""
}

func (WebmailFilters) Template() string { return "webmail_filters.html" }

// MailRule is a rule in words.
type MailRule struct {
	ID, Name, Tests, Does string
	Off                   bool
}

// WebmailFilter is the form of one rule.
type WebmailFilter struct {
	Layout
	Folders             []MailFolder
	Version, ID, Name   string
	Any, Read, Flag, Go bool
	Redirect, Label     string
	Domains             string // where copies may go
	Tests               []MailTest
	Extra               int // empty tests to show more
	CanAdd              bool
	Fields              []string
	Targets             []MailChoice
	Labels              []MailLabel
	Error               string // key
}

func (WebmailFilter) Template() string { return "webmail_filter.html" }

// MailTest is one condition of a rule.
type MailTest struct {
	Number       int // from 1
	Field, Value string
	Not          bool
}

// MailChoice is one line of a list to choose from.
type MailChoice struct {
	Value, Label string
	On           bool
}

// WebmailAbsence is the form of the absence.
type WebmailAbsence struct {
	Layout
	Folders                    []MailFolder
	Version                    string
	On, Inside                 bool
	From, Until, Subject, Text string
	Domain                     string // of the person, "" when they have no address
	State                      string // "off", "now", "later", "over"
	Foreign, Done, Error       string
}

func (WebmailAbsence) Template() string { return "webmail_absence.html" }

// WebmailScheduled lists the messages that leave later.
type WebmailScheduled struct {
	Layout
	Folders   []MailFolder
	Messages  []MailLater
	Reminders []MailLater // messages sent that come back without an answer
	Done      string      // "later" or ""
	At        time.Time   // of the one just added
	Alone     bool        // they leave only while the person is signed in
}

func (WebmailScheduled) Template() string { return "webmail_scheduled.html" }

// MailLater is one of them.
type MailLater struct {
	ID, Subject, To string
	At              time.Time
}

// MailLink is a large file that goes along as a link. Part is how much of it is
// here, in percent; State is "receiving", "checking", "ready" or "refused".
type MailLink struct {
	ID, Name, Size, State string
	Part                  int
}

// WebmailFiles lists the files that somebody shares by link.
type WebmailFiles struct {
	Layout
	Folders    []MailFolder
	Files      []MailShared
	Received   []MailShared // what others left
	Drops      []MailDrop
	Days       []int // choices of how long a link holds
	DaysOn     int
	Used, Most string
	Done       string // "removed", "opened", "closed" or ""
	Error      string
}

// MailDrop is a link by which others leave files.
type MailDrop struct {
	ID, Title, Link string
	Ends            time.Time
	Code            bool
}

// WebmailDrop is the page that such a link leads to, for whoever has it.
type WebmailDrop struct {
	Layout
	Heading, Name, Action, Most string
	Ends                        time.Time
	Code                        bool
	N                           int // files that have just come
	Error                       string
}

func (WebmailDrop) Template() string { return "webmail_drop.html" }

func (WebmailFiles) Template() string { return "webmail_files.html" }

// MailShared is one of them. Link is "" for one that was not sent.
type MailShared struct {
	ID, Name, Size, State, To, Subject, Link, Virus string
	Ends                                            time.Time
	Downloads                                       int
	Code                                            bool
	From, Words                                     string // of a visitor who left it
	Unseen                                          bool   // too large for the virus scanner
	Came                                            time.Time
}

// WebmailGuest is the page that a link leads to, for whoever has it.
type WebmailGuest struct {
	Layout
	Name, Size, From, Action string
	Ends                     time.Time
	Code                     bool
	Unseen                   bool // too large for the virus scanner
	Error                    string
}

func (WebmailGuest) Template() string { return "webmail_guest.html" }

// MailMoment is a time to choose; Value is "2006-01-02T15:04".
type MailMoment struct {
	Label, Value string
	At           time.Time
}

// WebmailTexts lists signatures and templates, with the form of one: Kind is
// "signature" or "template", ID "" for a new one.
type WebmailTexts struct {
	Layout
	Folders               []MailFolder
	Signatures, Templates []MailText
	Kind, ID              string
	Edit                  MailText
	Error, Done           string
}

func (WebmailTexts) Template() string { return "webmail_texts.html" }

// MailText is a signature or a template.
type MailText struct {
	ID, Kind, Name, Subject, Text string
	New, Answer                   bool // of new messages, of answers
}

// MailInsert is a text that can be put into a message.
type MailInsert struct{ ID, Name, Subject, Text, HTML string }

// WebmailEmbedded is a message that is attached to another one.
type WebmailEmbedded struct {
	Layout
	Folders    []MailFolder
	Back, Save string // the message around it, and its bytes
	Message    *MailMessage
}

func (WebmailEmbedded) Template() string { return "webmail_embedded.html" }

// WebmailImport is the form that takes messages of other programs in, and the
// mailboxes that can be taken out.
type WebmailImport struct {
	Layout
	Folders []MailFolder
	Boxes   []MailChoice // Value as in an address
	Most    string
	Done    bool
	N, Bad  int
	Error   string
}

func (WebmailImport) Template() string { return "webmail_import.html" }

// WebmailNotify is the form of the desktop's notifications.
type WebmailNotify struct {
	Layout
	Folders           []MailFolder
	On, Quiet, Done   bool
	From, Until, Only string
	Boxes             []MailChoice // beside the inbox
	Error             string
}

func (WebmailNotify) Template() string { return "webmail_notify.html" }

// WebmailShares lists the mailboxes that can be shared; Href leads to WebmailShare.
type WebmailShares struct {
	Layout
	Folders, Boxes []MailFolder
}

func (WebmailShares) Template() string { return "webmail_shares.html" }

// WebmailShare is who may do what in a mailbox.
type WebmailShare struct {
	Layout
	Folders     []MailFolder
	Label, Box  string // of the mailbox, and its address
	Do          string // where the forms go
	Shares      []MailShare
	Below       bool   // there are mailboxes below it
	Who, Rights string // as typed
	Error, Done string // key; "add", "change", "remove" or ""
}

func (WebmailShare) Template() string { return "webmail_share.html" }

// MailShare is what one person, or group, may do: Rights is "read", "change" or
// "manage".
type MailShare struct{ Who, Name, Rights string }

// WebmailLabels lists the labels. Keyword, Name and Colour are what was asked
// and refused for the reason Error; Keyword is "" for a new one.
type WebmailLabels struct {
	Layout
	Folders               []MailFolder
	Labels                []MailLabel
	Colours               []string
	Keyword, Name, Colour string
	Missing               bool   // one of those that come with Beffroi was removed
	Error                 string // key
}

func (WebmailLabels) Template() string { return "webmail_labels.html" }

// MailFolder is one line of the folder list.
type MailFolder struct {
	Label   string
	Href    string // "" when it only holds others
	Icon    string
	Unread  int
	Depth   int // 0 to 4
	Current bool
	Heading string // stands above it: what others share begins here
	Colour  string // of a label, "" for a folder
	Own     bool   // the first of the person's own folders: a line stands above it
}

// MailBox is the mailbox on the page.
type MailBox struct {
	Label    string
	Href     string
	Do       string // where its forms go
	Role     string // "inbox", "sent", … "" for the person's own
	Page     int
	Moves    []MailFolder // where messages can be moved to
	Labels   []MailLabel  // that messages can be given
	Archived bool         // the archive, or below it
	Share    string       // where it is opened to colleagues, "" when it cannot be
	Snooze   string       // where forms go that put messages off, "" when they cannot be
	Moments  []MailMoment // until when
	ToName   bool         // rows show recipients, not senders
}

// MailRow is one message of the list.
type MailRow struct {
	Key, Href  string
	Who        string
	Subject    string // "" when there is none
	Preview    string
	Date       time.Time
	Unread     bool
	Flagged    bool
	Answered   bool
	Forwarded  bool
	Attachment bool
	Draft      bool
	Unreadable bool
	Current    bool
	Together   int // messages of its conversation, 0 when it is alone
	Labels     []MailLabel
	NoAnswer   bool      // one's own message that nobody answered
	Until      time.Time // it comes back then; zero for one that is here
}

// MailLabel is a label: Keyword is its name in the mailbox, Href searches for it.
type MailLabel struct{ Keyword, Name, Colour, Href string }

// MailMessage is an open message.
type MailMessage struct {
	Key, Href  string
	Subject    string
	From       []MailAddress
	To, Cc     []MailAddress
	ReplyTo    []MailAddress // when it differs from From
	Sender     []MailAddress // who wrote in the name of From
	Date       time.Time
	Flagged    bool
	Answered   bool
	Forwarded  bool
	Draft      bool
	Document   string // address of the HTML document, "" when the text is plain
	Plain      []MailTextBlock
	More       [][]MailTextBlock
	OtherView  string // address of the other form, plain or rich
	OtherPlain bool   // the other form is the plain one
	Remote     int    // images and such that were not fetched
	Hosts      []string
	Pictures   string // remote ones are shown: "once", or by the sender that is accepted; "" when not
	CanShow    bool   // they could be
	SenderMail string // whose pictures could be accepted for good; "" for nobody
	SenderSite string // the domain

	AllFiles        string // address of all attachments in one file, "" for one or none
	Print           string
	Unsubscribe     string // how one leaves the list: "post", "mail", "page", "" when it is none
	UnsubscribeAt   string
	UnsubscribeHost string
	Cut             bool // the text was too long to show whole
	Salvaged        bool // the structure was damaged; shown as far as possible
	Files           []MailFile
	Headers         []MailHeader
	Filter          string // address where a filter for such messages begins, "" when there are none
	Source          string
	Reply           string
	ReplyAll        string // "" when it would say the same as Reply
	Forward         string
	Edit            string // for drafts
	Newer           string // neighbours in the list
	Older           string
	Trash           bool // stands in the trash: deleting is final
	Together        int  // messages of its conversation, 0 when it is alone
	Labels          []MailLabel
	History         string // address of all that was exchanged with who wrote it
	Invitation      *MailInvitation
	Signature       string // address that tells about the signature, "" without one
	Encrypted       bool   // it can be read only where its key is
	Receipt         string // address that asks for a receipt of reading
	Snoozing        bool   // a time is asked for, until when it goes out of sight
}

// Has tells whether the message bears a label.
func (m MailMessage) Has(keyword string) bool {
	return slices.ContainsFunc(m.Labels, func(l MailLabel) bool { return l.Keyword == keyword })
}

// MailAddress is a person in a header.
type MailAddress struct{ Name, Mail, Href string }

// MailFile is an attachment.
type MailFile struct{ Name, Type, Size, Href, Preview, Icon string }

// MailHeader is a line of the header view.
type MailHeader struct{ Name, Value string }

// MailTextBlock is a run of lines of the same quote depth.
type MailTextBlock struct {
	Quote int
	Fold  bool
	Lines [][]MailTextRun
}

// MailTextRun is a piece of a line; with Href it is a link, and Title shows
// its real host.
type MailTextRun struct {
	Text, Href, Title string
	Warn              string // host that is made to be taken for another one
}

// MailKept is an attachment that stays with the message being written.
type MailKept struct{ Value, Name, Size string }

// MailNotice is what was just done. Undo, when set, is a form that takes it back.
type MailNotice struct {
	Kind string // "ok", "warn", "bad"
	Text string
	Undo *MailUndo
}

// MailUndo moves messages back where they were.
type MailUndo struct {
	To    string
	Paths []string
}

// MailWaiting is a message of the outbox.
type MailWaiting struct {
	ID, Subject string
	State       string // "held", "queued", "sent", "failed"
	Held        int    // milliseconds in which it can be taken back
	Reason      string // sentence, already translated
	Detail      string
	Edit        string
}

// WebmailIdentities is whom a person writes as, and who may write in their name.
type WebmailIdentities struct {
	Layout
	Folders    []MailFolder
	Name, Mail string // of the person
	Own        []MailIdentity
	Functions  []MailIdentity
	InNameOf   []MailIdentity
	Delegates  []MailIdentity
	Signatures []MailChoice
	ID         string
	Edit       MailIdentity
	Who        string // as typed
	Done       string
	Error      string
}

func (WebmailIdentities) Template() string { return "webmail_identities.html" }

// MailIdentity is one of them.
type MailIdentity struct {
	ID, Name, Mail           string
	Label, ReplyTo           string
	Signature, SignatureName string
}

// MailInvitation is what a message says about an event.
type MailInvitation struct {
	Method     string // "REQUEST", "CANCEL", "REPLY", "PUBLISH" or another
	Title      string
	Place      string
	Start, End time.Time // of days, both are days of it
	AllDay     bool
	Repeats    bool
	One        bool // about one occurrence of a series
	Organizer  MailAddress
	Attendees  []MailAttendee
	Answer     string // what was answered, "" when nothing was
	CanAnswer  bool
	Agenda     bool // there is a calendar
	Do         string
	Said, Kept string // what was just done: with the answer, and with the calendar
}

// SameDay tells whether it ends on the day that it begins.
func (i MailInvitation) SameDay() bool {
	return i.Start.Format("20060102") == i.End.Format("20060102")
}

// MailAttendee is somebody invited. Status is as in iCalendar, in capitals.
type MailAttendee struct{ Name, Status string }

// WebmailSignature is what can be said of an S/MIME signature, as part of a page. State
// is "good", "other" (of somebody else than the sender), "unknown" (its authority),
// "broken", or "" for none.
type WebmailSignature struct {
	Layout
	State, Name, Mail, Issuer string
}

func (WebmailSignature) Template() string { return "webmail_signature" }

// MailChip is a condition of a search: Href is the search without it, or with it.
type MailChip struct{ Label, Href string }
