package webmail

import (
	"strings"
	"time"
	"unicode"

	"github.com/emersion/go-imap/v2"
)

// query is what is looked for, read from one line of words:
//
//	sortie musée            in the text, the subject, the names; all of the words
//	"sortie au musée"       these words in this order
//	-musée                  not this word
//	from:martin  de:martin  to:  à:  subject:  objet:
//	person:martin@academie.test  personne:  from or to them
//	has:attachment  avec:pièce
//	is:unread  est:nonlu  is:read  is:flagged  est:suivi  is:answered  est:répondu
//	after:2026-09-01  depuis:01/09/2026  before:  avant:
//	in:sent  dans:envoyés   one mailbox, by its name
//	label:important  étiquette:"à faire"
//
// A key that is none ("https:") is a word like another.
type query struct {
	text, not                             []string
	from, to, subject                     []string
	unread, read, flagged, answered, file bool
	since, before                         time.Time
	in                                    string
	person                                []string    // from or to them
	labels                                []string    // by name
	keywords                              []imap.Flag // what labels are called in the mailbox
}

// queryError is a part of a search that cannot be understood. key is the sentence.
type queryError struct{ key, word string }

func (e *queryError) Error() string { return "search: " + e.key + " " + e.word }

const (
	mostQuery = 400 // bytes of the line
	mostWords = 20
)

// queryKeys are the words before a colon, without accents.
var queryKeys = map[string]string{
	"from": "from", "de": "from", "to": "to", "a": "to", "pour": "to", "subject": "subject", "objet": "subject", "sujet": "subject",
	"has": "has", "avec": "has", "is": "is", "est": "is", "after": "after", "since": "after", "apres": "after", "depuis": "after", "before": "before", "avant": "before", "in": "in", "dans": "in",
	"person": "person", "personne": "person", "with": "person", "label": "label", "tag": "label", "etiquette": "label",
}

var queryStates = map[string]string{
	"unread": "unread", "nonlu": "unread", "non-lu": "unread", "read": "read", "lu": "read", "flagged": "flagged", "starred": "flagged", "suivi": "flagged", "important": "flagged",
	"answered": "answered", "repondu": "answered",
}

var queryFiles = map[string]bool{"attachment": true, "attachments": true, "file": true, "files": true, "piece": true, "pieces": true, "pj": true, "fichier": true, "fichiers": true}

// parseQuery reads a line. The error is *queryError.
func parseQuery(line string, zone *time.Location) (q query, err error) {
	if len(line) > mostQuery {
		line = strings.ToValidUTF8(line[:mostQuery], "")
	}
	for i, token := range queryTokens(line) {
		if i >= mostWords {
			return q, &queryError{"webmail.search.many", ""}
		}
		if err := q.add(token, zone); err != nil {
			return q, err
		}
	}
	if !q.since.IsZero() && !q.before.IsZero() && !q.since.Before(q.before) {
		return q, &queryError{"webmail.search.order", ""}
	}
	return q, nil
}

// queryToken is a word or several between quotes, with what stood before it.
type queryToken struct {
	key, value string
	quoted     bool
	not        bool
}

func queryTokens(line string) (tokens []queryToken) {
	line = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), r < ' ', r == 0x7f:
			return ' '
		case r == '“', r == '”', r == '«', r == '»':
			return '"'
		}
		return r
	}, strings.ToValidUTF8(line, " "))
	for {
		line = strings.TrimLeft(line, " ")
		if line == "" {
			return tokens
		}
		var t queryToken
		if len(line) > 1 && line[0] == '-' && line[1] != ' ' {
			t.not, line = true, line[1:]
		}
		end := strings.IndexAny(line, ` "`)
		word := line
		if end >= 0 {
			word = line[:end]
		}
		if i := strings.IndexByte(word, ':'); i > 0 && queryKeys[fold(word[:i])] != "" {
			t.key = queryKeys[fold(word[:i])]
			line = line[i+1:]
			word = word[i+1:]
		}
		switch {
		case strings.HasPrefix(line, `"`):
			value, rest, _ := strings.Cut(line[1:], `"`)
			t.value, t.quoted, line = strings.Join(strings.Fields(value), " "), true, rest
		default:
			t.value, line = word, line[len(word):]
		}
		if t.value != "" || t.key != "" {
			tokens = append(tokens, t)
		}
	}
}

func (q *query) add(t queryToken, zone *time.Location) error {
	if t.key != "" && t.value == "" {
		return &queryError{"webmail.search.novalue", t.key}
	}
	if t.not && t.key != "" {
		return &queryError{"webmail.search.not", t.key + ":" + t.value}
	}
	if t.not {
		q.not = append(q.not, t.value)
		return nil
	}
	switch t.key {
	case "":
		q.text = append(q.text, t.value)
	case "from":
		q.from = append(q.from, t.value)
	case "to":
		q.to = append(q.to, t.value)
	case "subject":
		q.subject = append(q.subject, t.value)
	case "in":
		q.in = t.value
	case "person":
		q.person = append(q.person, t.value)
	case "label":
		q.labels = append(q.labels, t.value)
	case "has":
		if !queryFiles[fold(t.value)] {
			return &queryError{"webmail.search.has", t.value}
		}
		q.file = true
	case "is":
		switch queryStates[fold(strings.ReplaceAll(t.value, " ", ""))] {
		case "unread":
			q.unread = true
		case "read":
			q.read = true
		case "flagged":
			q.flagged = true
		case "answered":
			q.answered = true
		default:
			return &queryError{"webmail.search.is", t.value}
		}
	default:
		day, err := queryDay(t.value, zone)
		if err != nil {
			return &queryError{"webmail.search.date", t.value}
		}
		if t.key == "after" {
			q.since = day
		} else {
			q.before = day
		}
	}
	return nil
}

// queryDay reads a day as people write one: 2026-09-01, 01/09/2026, 1/9/2026.
func queryDay(text string, zone *time.Location) (day time.Time, err error) {
	for _, layout := range []string{time.DateOnly, "2/1/2006", "2.1.2006"} {
		if day, err = time.ParseInLocation(layout, text, zone); err == nil && day.Year() >= 1970 && day.Year() < 2200 {
			return day, nil
		}
	}
	if err == nil {
		err = &queryError{"webmail.search.date", text}
	}
	return day, err
}

func (q query) empty() bool {
	return len(q.text)+len(q.not)+len(q.from)+len(q.to)+len(q.subject)+len(q.labels)+len(q.person) == 0 && !q.unread && !q.read && !q.flagged && !q.answered && !q.file && q.since.IsZero() && q.before.IsZero()
}

// criteria is the search as IMAP has it (RFC 9051 §6.4.4). With headers the words
// are looked for in names and subjects only: what a server without a full-text
// index answers in time.
func (q query) criteria(headers bool) *imap.SearchCriteria {
	c := &imap.SearchCriteria{Since: q.since, Before: q.before}
	field := func(key, value string) imap.SearchCriteria {
		return imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: key, Value: value}}}
	}
	words := func(w string) imap.SearchCriteria {
		if !headers {
			return imap.SearchCriteria{Text: []string{w}}
		}
		return imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{field("Subject", w), {Or: [][2]imap.SearchCriteria{{field("From", w), field("To", w)}}}}}}
	}
	and := func(one imap.SearchCriteria) { c.And(&one) }
	for _, w := range q.text {
		and(words(w))
	}
	for _, w := range q.not {
		c.Not = append(c.Not, words(w))
	}
	for _, w := range q.from {
		and(field("From", w))
	}
	for _, w := range q.to {
		and(imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{field("To", w), field("Cc", w)}}})
	}
	for _, w := range q.person {
		and(imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{field("From", w), {Or: [][2]imap.SearchCriteria{{field("To", w), field("Cc", w)}}}}}})
	}
	for _, w := range q.subject {
		and(field("Subject", w))
	}
	if q.unread {
		c.NotFlag = append(c.NotFlag, imap.FlagSeen)
	}
	if q.read {
		c.Flag = append(c.Flag, imap.FlagSeen)
	}
	if q.flagged {
		c.Flag = append(c.Flag, imap.FlagFlagged)
	}
	c.Flag = append(c.Flag, q.keywords...)
	if q.answered {
		c.Flag = append(c.Flag, imap.FlagAnswered)
	}
	if q.file { // IMAP has no word for it: a message of several parts that are not forms of one text
		and(field("Content-Type", "multipart/mixed"))
	}
	return c
}
