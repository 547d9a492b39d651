package directory

import (
	"testing"
	"time"
)

func TestAnAnswerServesOneAuthenticateOfTheSameInstant(t *testing.T) {
	var m moments
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	m.put("mdupont", &found{person: Person{ID: "1"}}, at)
	if f, _ := m.take("jmartin", at); f != nil {
		t.Error("another login was answered")
	}
	if f, asked := m.take("mdupont", at.Add(justNow)); f == nil || f.person.ID != "1" || !asked.Equal(at) {
		t.Error("the answer of this instant was not used")
	}
	if f, _ := m.take("mdupont", at); f != nil {
		t.Error("one answer served twice")
	}
	m.put("mdupont", &found{}, at)
	if f, _ := m.take("mdupont", at.Add(justNow+time.Millisecond)); f != nil {
		t.Error("an answer outlived its instant")
	}
	for range 3 * maxMoments {
		m.put(time.Now().String(), &found{}, at)
	}
	if len(m.kept) > maxMoments {
		t.Errorf("%d answers are kept", len(m.kept))
	}
}
