package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

// mail are the pages of the webmail.
func (c *camera) mail() []step {
	to, from := c.at, c.beyond
	return []step{
		{"mail-list", to("/mail/")},
		{"mail-message", from("/mail/", c.links("mail"))},
		{"mail-conversation", func() error {
			if err := c.open(c.portal + "/mail/"); err != nil {
				return err
			}
			time.Sleep(time.Second) // mailboxes are followed in the background
			return from("/mail/", "main .mail-row:has(.mail-together) a.mail-row-link")()
		}},
		{"mail-conversation-page", func() error { return c.follow(`a[href$="/conversation"], .mail-turn a`) }},
		{"mail-newsletter", func() error { return c.newsletter("") }},
		{"mail-pictures", func() error { return c.newsletter("?pictures") }},
		{"mail-senders-none", to("/mail/pictures")},
		{"mail-senders", func() error {
			if err := c.newsletter(""); err != nil {
				return err
			}
			if err := c.submit(`button[value="domain"]`); err != nil {
				return err
			}
			return c.open(c.portal + "/mail/pictures")
		}},
		{"mail-settings", to("/mail/settings")},
		{"mail-labels", to("/mail/labels")},
		{"mail-labels-taken", func() error {
			if err := c.do(chromedp.SetValue(chromedp.CSS("#name"), map[string]string{"fr": "Travail", "en": "Work"}[c.lang])); err != nil {
				return err
			}
			return c.submit(`button[name="do"][value="add"]`)
		}},
		{"mail-labelled", func() error {
			if err := from("/mail/", c.links("mail"))(); err != nil {
				return err
			}
			if err := c.do(chromedp.Click(chromedp.CSS("[data-key-l]"))); err != nil {
				return err
			}
			return c.submit(`.mail-actions button[value$="label/$label4"]`)
		}},
		{"mail-label-menu", func() error { return c.do(chromedp.Click(chromedp.CSS("[data-key-l]"))) }},
		{"mail-list-labelled", to("/mail/")},
		{"mail-snooze-menu", func() error {
			if err := from("/mail/", c.links("mail"))(); err != nil {
				return err
			}
			return c.do(chromedp.Click(chromedp.CSS("[data-key-b]")))
		}},
		{"mail-snooze-other", func() error { return c.follow(`.mail-actions a[href$="?snooze"]`) }},
		{"mail-snoozed", func() error {
			if err := c.do(chromedp.SetValue(chromedp.CSS("#snooze-at"), time.Now().AddDate(0, 0, 3).Format("2006-01-02T15:04"))); err != nil {
				return err
			}
			return c.submit(`.mail-snoozing button`)
		}},
		{"mail-snoozed-list", to("/mail/Snoozed/")},
		{"mail-later-menu", func() error {
			if err := c.open(c.portal + "/mail/compose?to=sarah.smith%40academie.test"); err != nil {
				return err
			}
			return c.do(chromedp.Click(chromedp.CSS(".mail-later > summary")))
		}},
		{"mail-scheduled-none", to("/mail/scheduled")},
		{"mail-scheduled", func() error {
			if err := c.fill("Réunion de lundi", "Bonjour, à lundi."); err != nil {
				return err
			}
			if err := c.do(chromedp.Click(chromedp.CSS(".mail-later > summary"))); err != nil {
				return err
			}
			return c.submit(`.mail-later button[value^="later/"]`)
		}},
		{"mail-scheduled-list", to("/mail/")},
		{"mail-texts-none", to("/mail/texts")},
		{"mail-texts", func() error {
			if err := c.do(chromedp.SetValue(chromedp.CSS("#name"), "Bureau"), chromedp.SetValue(chromedp.CSS("#edit #text"), "Marie Dupont\nAssistance académique")); err != nil {
				return err
			}
			return c.submit(`#edit button[value="save"]`)
		}},
		{"mail-signed", to("/mail/compose")},
		{"mail-import", to("/mail/import")},
		{"mail-notify", to("/mail/notifications")},
		{"mail-keys", func() error {
			if err := c.open(c.portal + "/mail/"); err != nil {
				return err
			}
			return c.do(chromedp.KeyEvent("?"))
		}},
		{"mail-search-kept", func() error {
			if err := c.open(c.portal + "/mail/search?q=bonjour"); err != nil {
				return err
			}
			return c.submit(`.mail-kept-searches button[value="keep"]`)
		}},
		{"offline", to("/offline")},
		{"mail-files-none", to("/mail/files")},
		{"mail-link", func() error {
			if err := c.fill("La vidéo", ""); err != nil {
				return err
			}
			large := filepath.Join(os.TempDir(), "beffroi-screens-video.mp4")
			if err := os.WriteFile(large, nil, 0o600); err != nil {
				return err
			}
			defer os.Remove(large)
			if err := os.Truncate(large, 30<<20); err != nil {
				return err
			}
			return c.do(chromedp.SetUploadFiles(chromedp.CSS("#files"), []string{large}), chromedp.WaitVisible(chromedp.CSS(".mail-link progress[hidden]+.hint")))
		}},
		{"mail-link-sent", func() error { return c.submit(`button[name="action"][value="send"]`) }},
		{"mail-files", to("/mail/files")},
		{"mail-guest", func() error {
			link := c.attribute(".mail-linkfield", "value")
			if link == "" {
				return errors.New("no link on the page")
			}
			return c.open(link)
		}},
		{"mail-compose", to("/mail/compose")},
		{"mail-recipients", func() error {
			if err := c.open(c.portal + "/mail/compose"); err != nil {
				return err
			}
			// long enough for the draft to save itself: a page with something unsaved asks before it is left
			return c.do(chromedp.SendKeys(chromedp.CSS("#to"), "mar"), chromedp.Sleep(6*time.Second))
		}},
		{"mail-search-empty", to("/mail/search")},
		{"mail-search", to("/mail/search?q=bonjour")},
		{"mail-search-more", func() error { return c.do(chromedp.Click(chromedp.CSS(".mail-searchmore > summary"))) }},
		{"mail-search-none", to("/mail/search?q=zzzzzz")},
		{"mail-search-wrong", to("/mail/search?q=avant:hier")},
		{"mail-forgotten", func() error { return c.write("Compte rendu", "Bonjour,\nvous trouverez ci-joint le compte rendu.") }},
		{"mail-held", func() error { return c.write("Réunion", "À demain, 14 h.") }},
		{"mail-identities", to("/mail/identities")},
		{"mail-identity", func() error {
			if err := c.do(chromedp.SetValue(chromedp.CSS("#label"), "3e B")); err != nil {
				return err
			}
			return c.submit(`#edit button[value="save"]`)
		}},
		{"mail-delegate", func() error {
			if err := c.do(chromedp.SetValue(chromedp.CSS("#who"), "ssmith")); err != nil {
				return err
			}
			return c.submit(`button[value="delegate"]`)
		}},
		{"mail-compose-as", to("/mail/compose")},
		{"mail-invitation", func() error { return c.found(".mail-invite") }},
		{"mail-invited", func() error { return c.submit(`.mail-invite button[value="ACCEPTED"]`) }},
		{"mail-drop-new", func() error {
			if err := c.open(c.portal + "/mail/files"); err != nil {
				return err
			}
			if err := c.do(chromedp.SetValue(chromedp.CSS("#title"), "Photos de la sortie")); err != nil {
				return err
			}
			return c.submit(`form[action="/mail/drops"] button.btn-primary`)
		}},
		{"mail-drop", func() error {
			link := c.attribute(`.mail-linkfield[id^="drop-"]`, "value")
			if link == "" {
				return errors.New("no link to leave files")
			}
			return c.open(link)
		}},
		{"mail-dropped", func() error {
			photo := filepath.Join(c.out, ".photo.jpg")
			if err := os.WriteFile(photo, make([]byte, 300_000), 0o600); err != nil {
				return err
			}
			defer os.Remove(photo)
			if err := c.do(chromedp.SetValue(chromedp.CSS("#name"), "Claire Durand"), chromedp.SetValue(chromedp.CSS("#words"), "Les photos de jeudi."), chromedp.SetUploadFiles(chromedp.CSS("#files"), []string{photo})); err != nil {
				return err
			}
			return c.submit(`[data-drop] button`)
		}},
		{"mail-received", to("/mail/files")},
	}
}

// write sends a message to a colleague.
func (c *camera) write(subject, text string) error {
	if err := c.fill(subject, text); err != nil {
		return err
	}
	return c.submit(`button[name="action"][value="send"]`)
}

// fill writes a message without sending it.
func (c *camera) fill(subject, text string) error {
	if err := c.open(c.portal + "/mail/compose?to=sarah.smith%40academie.test"); err != nil {
		return err
	}
	return c.do(chromedp.SetValue(chromedp.CSS("#subject"), subject), chromedp.WaitVisible(chromedp.CSS(".mail-rich")), chromedp.Focus(chromedp.CSS(".mail-rich")), chromedp.KeyEvent(text))
}

// newsletter opens the first message of the inbox that has remote pictures.
func (c *camera) newsletter(query string) error {
	if err := c.found(".mail-remote"); err != nil {
		return err
	}
	return c.open(strings.SplitN(c.location(), "?", 2)[0] + query)
}

// found opens the first message of the inbox with an element of that kind.
func (c *camera) found(selector string) error {
	if err := c.open(c.portal + "/mail/"); err != nil {
		return err
	}
	links, err := chromedp.Run(c.ctx, chromedp.Evaluate[[]string](`[...document.querySelectorAll("main a.mail-row-link")].map(a => a.href)`))
	if err != nil {
		return err
	}
	for _, link := range links {
		if err := c.open(link); err != nil {
			return err
		}
		if c.has(selector) {
			return nil
		}
	}
	return fmt.Errorf("no message of %d has %s", len(links), selector)
}
