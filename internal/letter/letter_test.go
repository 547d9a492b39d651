package letter

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sample(t *testing.T) Letter {
	t.Helper()
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 60, 60))); err != nil {
		t.Fatal(err)
	}
	return Letter{
		Lang: "fr", From: []string{"Académie de Lille", "Assistance informatique", "03 53 01 00 00"},
		To:    []string{"Élodie Œuvrard-Łukasiewicz", "Collège Jean-Zay", "14 avenue des Tilleuls", "59160 Lomme"},
		Place: "Lille, le 26 novembre 2026", Subject: "Votre second facteur",
		Paragraphs: []string{"Bonjour,", "Cette lettre sert une fois, jusqu’au 26 décembre 2026."},
		Steps:      []string{"Ouvrez l’adresse ci-dessous.", "Tapez votre mot de passe."},
		Picture:    picture.Bytes(), Caption: "https://id.example.fr/enrol/ABCD", After: []string{"Elle ne suffit pas sans votre mot de passe."}, Foot: "Ne donnez cette lettre à personne.",
	}
}

// text is what a reader of PDF finds in it.
func text(t *testing.T, pdf []byte) (words string, pages int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "letter.pdf")
	if err := os.WriteFile(file, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("pdftotext", "-layout", file, "-").CombinedOutput()
	if err != nil {
		t.Fatalf("pdftotext: %v\n%s", err, out)
	}
	return string(out), strings.Count(string(out), "\f")
}

func TestALetterIsReadAsItWasWritten(t *testing.T) {
	l := sample(t)
	var pdf bytes.Buffer
	if err := l.Write(&pdf, time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	words, pages := text(t, pdf.Bytes())
	if pages != 1 {
		t.Errorf("%d pages", pages)
	}
	for _, part := range append(append(append(append([]string{l.Subject, l.Place, l.Caption, l.Foot}, l.From...), l.To...), l.Paragraphs...), l.Steps...) {
		if !strings.Contains(words, part) {
			t.Errorf("%q is not in the letter:\n%s", part, words)
		}
	}
}

func TestALongNameGoesOnTheNextLine(t *testing.T) {
	l := sample(t)
	l.To[0] = strings.Repeat("Marie-Anne-Élisabeth ", 6)
	var pdf bytes.Buffer
	if err := l.Write(&pdf, time.Now()); err != nil {
		t.Fatal(err)
	}
	words, pages := text(t, pdf.Bytes())
	if n := strings.Count(words, "Marie-Anne-Élisabeth"); n != 6 || pages != 1 {
		t.Errorf("%d of 6 names on %d pages", n, pages)
	}
}

func TestManyLettersAreAsManyPages(t *testing.T) {
	one, other := sample(t), sample(t)
	other.To[0], other.Subject = "Zoé Ñandú", "Votre autre second facteur"
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 90, 90))); err != nil {
		t.Fatal(err)
	}
	other.Picture = picture.Bytes()
	var pdf bytes.Buffer
	if err := WriteAll(&pdf, time.Now(), one, other, one); err != nil {
		t.Fatal(err)
	}
	words, pages := text(t, pdf.Bytes())
	if pages != 3 || strings.Count(words, one.To[0]) != 2 || strings.Count(words, other.To[0]) != 1 || strings.Count(words, one.Foot) != 3 {
		t.Errorf("%d pages:\n%s", pages, words)
	}
	if err := WriteAll(&pdf, time.Now()); err == nil {
		t.Error("no letter was written")
	}
}

func TestABrokenPictureIsAnError(t *testing.T) {
	l := sample(t)
	l.Picture = []byte("not a picture")
	if err := l.Write(&bytes.Buffer{}, time.Now()); err == nil {
		t.Error("written")
	}
}
