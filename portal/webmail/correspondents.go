package webmail

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// Those to whom a person has written complete what they type, the most and the
// latest written to first. They are kept in one sealed list.

const (
	kindCorrespondents = "correspondents"
	mostCorrespondents = 300
)

// correspondent is one of them. Last is a day, in days since 1970.
type correspondent struct {
	Name string `json:"n,omitempty"`
	Mail string `json:"m"`
	Sent int    `json:"s"`
	Last int64  `json:"l"`
}

// weight ranks: what was sent counts half as much after two months, a third after
// four, and so on.
func (c correspondent) weight(today int64) float64 {
	return float64(c.Sent) / float64(1+max(0, today-c.Last)/60)
}

func (s *service) today() int64 { return s.now().Unix() / 86400 }

func (s *service) correspondents(ctx context.Context, sub string) ([]correspondent, error) {
	kept, err := items[[]correspondent](ctx, s, sub, kindCorrespondents)
	if err != nil || len(kept) == 0 {
		return nil, err
	}
	return kept[0].value, nil
}

// remember notes to whom a message went.
func (s *service) remember(ctx context.Context, o *outgoing) {
	sub := s.person(ctx).Sub
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		list, err := s.correspondents(ctx, sub)
		if err != nil {
			return err
		}
		today := s.today()
		for _, a := range slices.Concat(o.to, o.cc, o.bcc) {
			if a.mail == "" {
				continue
			}
			at := slices.IndexFunc(list, func(c correspondent) bool { return strings.EqualFold(c.Mail, a.mail) })
			if at < 0 {
				list = append(list, correspondent{Mail: a.mail})
				at = len(list) - 1
			}
			list[at].Name, list[at].Sent, list[at].Last = cmp.Or(cleanLine(a.name), list[at].Name), list[at].Sent+1, today
		}
		slices.SortStableFunc(list, func(a, b correspondent) int { return cmp.Compare(b.weight(today), a.weight(today)) })
		return s.putItem(ctx, sub, kindCorrespondents, "all", 0, list[:min(len(list), mostCorrespondents)])
	})
	if err != nil {
		s.log.InfoContext(ctx, "recipients not remembered", "error", err)
	}
}

// writtenTo are those written to before whose name or address has a word that
// begins with each word of text.
func (s *service) writtenTo(ctx context.Context, text string) ([]correspondent, error) {
	list, err := s.correspondents(ctx, s.person(ctx).Sub)
	if err != nil {
		return nil, err
	}
	wanted := strings.Fields(fold(text))
	list = slices.DeleteFunc(list, func(c correspondent) bool {
		words := strings.FieldsFunc(fold(c.Name+" "+c.Mail), func(r rune) bool { return strings.ContainsRune(" ,.-_@'’", r) })
		words = append(words, fold(c.Mail))
		return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool {
			return !slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(word, w) })
		})
	})
	today := s.today()
	slices.SortStableFunc(list, func(a, b correspondent) int { return cmp.Compare(b.weight(today), a.weight(today)) })
	return list, nil
}
