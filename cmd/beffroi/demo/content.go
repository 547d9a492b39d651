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
