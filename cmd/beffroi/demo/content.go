package demo

import (
	"time"

	"github.com/emersion/go-imap/v2"
)

type sampleFolder struct {
	name     string
	messages []sampleMessage
}

type sampleMessage struct {
	raw      []byte
	flags    []imap.Flag
	received time.Time
}

type directoryOfNames struct{ people []Account }

func newDirectoryOfNames(people []Account) *directoryOfNames { return &directoryOfNames{people} }

func sampleMail(person Account, everyone *directoryOfNames, start time.Time) []sampleFolder {
	return nil
}

// sampleCollection is a calendar or an address book to start with.
type sampleCollection struct {
	name        string // in its address
	displayName string
	description string
	color       string
	order       string
	isBook      bool
	objects     []sampleObject
}

type sampleObject struct{ name, data string }

func sampleAgenda(person Account, everyone *directoryOfNames, start time.Time) []sampleCollection {
	return []sampleCollection{{name: "personnel", displayName: "Personnel"}}
}

func schoolAgenda(person Account, everyone *directoryOfNames, start time.Time) sampleCollection {
	return sampleCollection{name: "etablissement", displayName: "Établissement"}
}

func sampleBooks(person Account, everyone *directoryOfNames, start time.Time) []sampleCollection {
	return []sampleCollection{{name: "contacts", displayName: "Contacts", isBook: true}}
}
