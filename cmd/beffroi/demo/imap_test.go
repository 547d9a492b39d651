package demo

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

func appendMail(t *testing.T, c *imapclient.Client, folder, raw string, flags ...imap.Flag) imap.UID {
	t.Helper()
	cmd := c.Append(folder, int64(len(raw)), &imap.AppendOptions{Flags: flags})
	if _, err := io.WriteString(cmd, raw); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return data.UID
}

const report = "From: Marie Dupont <marie.dupont@academie.test>\r\nTo: jacques.martin@academie.test\r\nSubject: =?utf-8?q?Compte_rendu_de_la_r=C3=A9union?=\r\n" +
	"Date: Mon, 16 Nov 2026 10:00:00 +0100\r\nMessage-ID: <report@academie.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nVoici le relev=E9 demand=E9.\r\n" +
	"--b\r\nContent-Type: text/csv; name=notes.csv\r\nContent-Disposition: attachment; filename=notes.csv\r\n\r\nnom;note\r\nA;12\r\n--b--\r\n"

func TestSpecialFoldersAreAnnouncedAndCanBeCreated(t *testing.T) {
	s, _ := startMail(t)
	c := openIMAP(t, s, "mdupont", nil)
	if !c.Caps().Has(imap.CapSpecialUse) || !c.Caps().Has(imap.CapCreateSpecialUse) {
		t.Fatalf("capabilities %v", c.Caps())
	}
	uses := func(options *imap.ListOptions) map[imap.MailboxAttr]string {
		t.Helper()
		list, err := c.List("", "*", options).Collect()
		if err != nil {
			t.Fatal(err)
		}
		found := make(map[imap.MailboxAttr]string)
		for _, data := range list {
			for _, attr := range data.Attrs {
				if attr != imap.MailboxAttrHasChildren && attr != imap.MailboxAttrHasNoChildren {
					found[attr] = data.Mailbox
				}
			}
		}
		return found
	}
	for _, options := range []*imap.ListOptions{nil, {ReturnSpecialUse: true}, {SelectSpecialUse: true}} {
		got := uses(options)
		for attr, name := range map[imap.MailboxAttr]string{imap.MailboxAttrSent: "Sent", imap.MailboxAttrDrafts: "Drafts",
			imap.MailboxAttrTrash: "Trash", imap.MailboxAttrJunk: "Junk", imap.MailboxAttrArchive: "Archives"} {
			if got[attr] != name {
				t.Errorf("%v: %s is %q, want %q", options, attr, got[attr], name)
			}
		}
	}
	if err := c.Create("Autre brouillon", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrDrafts}}).Wait(); err == nil {
		t.Error("a second folder took the use of the drafts")
	}
	if err := c.Delete("Junk").Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Create("Indésirables", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrJunk}}).Wait(); err != nil {
		t.Fatal(err)
	}
	if got := uses(nil)[imap.MailboxAttrJunk]; got != "Indésirables" {
		t.Errorf("junk is %q", got)
	}
}

func TestAMessageCanBeStoredSearchedReadInPartsFlaggedAndMoved(t *testing.T) {
	s, _ := startMail(t)
	c := openIMAP(t, s, "mdupont", nil)
	if err := c.Create("Essai", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	uid := appendMail(t, c, "Essai", report, imap.FlagSeen)
	appendMail(t, c, "Essai", "Subject: autre\r\n\r\nrien\r\n")
	selected, err := c.Select("Essai", nil).Wait()
	if err != nil || selected.NumMessages != 2 {
		t.Fatalf("select: %+v, %v", selected, err)
	}
	for name, criteria := range map[string]*imap.SearchCriteria{
		"subject":     {Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "réunion"}}},
		"latin1 body": {Body: []string{"relevé demandé"}},
		"flag":        {Flag: []imap.Flag{imap.FlagSeen}},
		"or":          {Or: [][2]imap.SearchCriteria{{{Body: []string{"demandé"}}, {Text: []string{"nowhere"}}}}},
	} {
		found, err := c.UIDSearch(criteria, nil).Wait()
		if err != nil || !slices.Equal(found.AllUIDs(), []imap.UID{uid}) {
			t.Errorf("%s: found %v, %v", name, found, err)
		}
	}
	section := &imap.FetchItemBodySection{Part: []int{2}, Peek: true}
	fetched, err := c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{Envelope: true, Flags: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil || len(fetched) != 1 {
		t.Fatal(fetched, err)
	}
	m := fetched[0]
	if m.Envelope.Subject != "Compte rendu de la réunion" || !slices.Equal(m.Flags, []imap.Flag{imap.FlagSeen}) {
		t.Errorf("envelope %+v flags %v", m.Envelope, m.Flags)
	}
	if body := m.FindBodySection(section); string(body) != "nom;note\r\nA;12" {
		t.Errorf("part 2 is %q", body)
	}
	if parts, ok := m.BodyStructure.(*imap.BodyStructureMultiPart); !ok || len(parts.Children) != 2 || parts.Children[1].Disposition().Value != "attachment" {
		t.Errorf("structure %+v", m.BodyStructure)
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	fetched, err = c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil || !bytes.Equal(fetched[0].FindBodySection(whole), []byte(report)) {
		t.Errorf("the message did not come back byte for byte: %q, %v", fetched[0].FindBodySection(whole), err)
	}
	stored, err := c.Store(imap.UIDSetNum(uid), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged, "$Forwarded"}}, nil).Collect()
	if err != nil || len(stored) != 1 || len(stored[0].Flags) != 3 {
		t.Errorf("store: %v, %v", stored, err)
	}
	moved, err := c.Move(imap.UIDSetNum(uid), "Trash").Wait()
	if err != nil || moved.DestUIDs == nil {
		t.Fatalf("move: %+v, %v", moved, err)
	}
	status, err := c.Status("Trash", &imap.StatusOptions{NumMessages: true, NumUnseen: true}).Wait()
	if err != nil || *status.NumMessages == 0 {
		t.Errorf("trash: %+v, %v", status, err)
	}
}

func TestAnExaminedFolderIsNotChanged(t *testing.T) {
	s, _ := startMail(t)
	c := openIMAP(t, s, "mdupont", nil)
	uid := appendMail(t, c, "Sent", report)
	if _, err := c.Select("Sent", &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Store(imap.UIDSetNum(uid), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err == nil {
		t.Error("flags were stored")
	}
	if _, err := c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{}}}).Collect(); err != nil {
		t.Fatal(err)
	}
	got, err := c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{Flags: true}).Collect()
	if err != nil || len(got) != 1 || slices.Contains(got[0].Flags, imap.FlagSeen) {
		t.Errorf("flags %v, %v", got, err)
	}
}

func TestAMultipartWithoutPartsIsRefusedRatherThanBreakingItsFolder(t *testing.T) {
	s, _ := startMail(t)
	c := openIMAP(t, s, "mdupont", nil)
	raw := "Subject: vide\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nnothing\r\n"
	cmd := c.Append("INBOX", int64(len(raw)), nil)
	_, _ = io.WriteString(cmd, raw)
	_ = cmd.Close()
	if _, err := cmd.Wait(); err == nil {
		t.Fatal("stored")
	}
	if err := c.Noop().Wait(); err != nil {
		t.Fatalf("the connection did not survive: %v", err)
	}
}

func TestIdleTellsOfNewMail(t *testing.T) {
	s, _ := startMail(t)
	exists := make(chan uint32, 8)
	c := openIMAP(t, s, "jmartin", &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				exists <- *data.NumMessages
			}
		},
	}})
	selected, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	send(t, s, "mdupont", "marie.dupont@academie.test", []string{"jacques.martin@academie.test"}, report)
	select {
	case n := <-exists:
		if n != selected.NumMessages+1 {
			t.Errorf("told of %d messages, want %d", n, selected.NumMessages+1)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was told")
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestFoldersNestKeepAccentsAndAreRenamedWithWhatTheyHold(t *testing.T) {
	s, _ := startMail(t)
	c := openIMAP(t, s, "plefebvre", nil)
	for _, name := range []string{"Élèves/3ᵉ B/Été", "Projet & suivi"} {
		if err := c.Create(name, nil).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Rename("Élèves", "Classes/Élèves", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	list, err := c.List("", "*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, data := range list {
		names = append(names, data.Mailbox)
		if data.Mailbox == "Classes" && !slices.Contains(data.Attrs, imap.MailboxAttrHasChildren) {
			t.Error("Classes has children and does not say so")
		}
	}
	for _, want := range []string{"Classes", "Classes/Élèves", "Classes/Élèves/3ᵉ B", "Classes/Élèves/3ᵉ B/Été", "Projet & suivi"} {
		if !slices.Contains(names, want) {
			t.Errorf("%q is missing from %s", want, strings.Join(names, ", "))
		}
	}
	if err := c.Delete("Classes").Wait(); err == nil {
		t.Error("a folder with folders in it was deleted")
	}
	if err := c.Delete("INBOX").Wait(); err == nil {
		t.Error("INBOX was deleted")
	}
	if top, err := c.List("", "%", nil).Collect(); err != nil || slices.ContainsFunc(top, func(d *imap.ListData) bool { return strings.Contains(d.Mailbox, "/") }) {
		t.Errorf("%% lists nested folders: %v, %v", top, err)
	}
}
