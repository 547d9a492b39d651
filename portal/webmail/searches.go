package webmail

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"beffroi/internal/web"
	"beffroi/templates"
)

// kindSearch are searches that a person keeps, as lines.
const kindSearch = "search"

// keptSearches are those of the person signed in; kept tells whether line is one.
func (s *service) keptSearches(ctx context.Context, line string) (list []templates.MailSearchKept, kept bool, err error) {
	all, err := items[string](ctx, s, s.person(ctx).Sub, kindSearch)
	for _, one := range all {
		kept = kept || one.value == line
		list = append(list, templates.MailSearchKept{ID: one.id, Query: one.value, Href: "/mail/search?q=" + url.QueryEscape(one.value), Current: one.value == line})
	}
	return list, kept, err
}

// postSearches answers POST /mail/searches, field do: keep the line q, or remove id.
func (s *service) postSearches(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	sub := s.person(ctx).Sub
	line := strings.TrimSpace(cleanLine(web.Field(r, "q")))
	switch web.Field(r, "do") {
	case "remove":
		if err := s.dropItem(ctx, sub, kindSearch, web.Field(r, "id")); err != nil {
			return err
		}
	case "keep":
		if line == "" || len(line) > mostQuery {
			return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("no search to keep"))
		}
		list, kept, err := s.keptSearches(ctx, line)
		if err == nil && !kept {
			err = s.putItem(ctx, sub, kindSearch, newCompositionID(), int64(len(list)), line)
		}
		if errors.Is(err, errManyItems) {
			return web.Fail(http.StatusConflict, "webmail.texts.many", err)
		} else if err != nil {
			return err
		}
	default:
		return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("unknown action"))
	}
	return web.Redirect(w, r, "/mail/search?q="+url.QueryEscape(line))
}
