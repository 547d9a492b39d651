package webmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"beffroi/internal/audit"
	"beffroi/internal/web"
	"beffroi/templates"
)

// unsubscribing is how one leaves a list (RFC 2369 §3.2): by one request that
// this server makes (RFC 8058), by a mail, or on a page of the list's.
type unsubscribing struct {
	post, mail, page string
}

// unsubscribe reads how one leaves the list that a message came by.
func unsubscribe(h header) (u unsubscribing) {
	oneClick := strings.EqualFold(strings.ReplaceAll(h.get("list-unsubscribe-post"), " ", ""), "List-Unsubscribe=One-Click")
	rest := h.get("list-unsubscribe")
	for {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			return u
		}
		address, next, ok := strings.Cut(after, ">")
		if !ok {
			return u
		}
		rest = next
		address = browserURL(strings.Join(strings.Fields(address), ""))
		parsed, err := url.Parse(address)
		if err != nil || len(address) > 2000 {
			continue
		}
		switch strings.ToLower(parsed.Scheme) {
		case "https":
			if target, _ := linkTarget(address, ""); target != "" && u.page == "" {
				u.page = target
				if oneClick && pictureAddress(parsed) == nil {
					u.post = target
				}
			}
		case "mailto":
			if u.mail == "" {
				u.mail = address
			}
		}
	}
}

// unsubscribeView fills in what the page offers.
func (s *service) unsubscribeView(v *templates.MailMessage, h header) {
	u := unsubscribe(h)
	switch {
	case u.post != "" && s.showsPictures():
		v.Unsubscribe = "post"
	case u.mail != "":
		v.Unsubscribe, v.UnsubscribeAt = "mail", "/mail/compose?mailto="+url.QueryEscape(u.mail)
	case u.page != "":
		target, _ := url.Parse(u.page)
		v.Unsubscribe, v.UnsubscribeAt, v.UnsubscribeHost = "page", u.page, target.Hostname()
	}
}

// postUnsubscribe answers POST /mail/{box}/{ref}/unsubscribe: leaves the list by
// the request of RFC 8058, without cookie or a word of who asks; only the internet
// is dialled.
func (s *service) postUnsubscribe(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	var u unsubscribing
	err = s.with(ctx, func(who owner) error {
		m, err := s.openMessage(ctx, who, at)
		if err != nil {
			return err
		}
		u = unsubscribe(m.header)
		return nil
	})
	if err != nil {
		return err
	}
	if u.post == "" || !s.showsPictures() {
		return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("no one-click way to leave"))
	}
	done := "unsubscribed"
	if err := s.leaveList(ctx, u.post); err != nil {
		s.log.InfoContext(ctx, "list not left", "error", err, "request", audit.OriginOf(ctx).RequestID)
		done = "stillsubscribed"
	}
	return s.goBack(w, r, at.path(), url.Values{"done": {done}})
}

func (s *service) leaveList(ctx context.Context, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader("List-Unsubscribe=One-Click"))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", "Mozilla/5.0")
	client := *s.pictures
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10)
	if answer.StatusCode >= 300 {
		return fmt.Errorf("the list answers %d", answer.StatusCode)
	}
	return nil
}
