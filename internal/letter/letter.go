// Package letter writes the letters that the academy prints: an A4 page of
// PDF each, with who writes to whom, paragraphs, steps and the picture of an address
// to be scanned. It folds into a window envelope (C5/6, window on the right, as
// French offices use it).
//
// It promises: any name of the directory is printed as it is written (the font
// is embedded), nothing is fetched, and the text can be selected and searched.
package letter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"codeberg.org/go-pdf/fpdf"

	"beffroi/templates"
)

// Letter is one page. Empty parts take no place.
type Letter struct {
	Lang       string // BCP 47, for those who have it read aloud
	From       []string
	To         []string // name, school, street, postal code and town
	Place      string   // "Lille, le 26 novembre 2026"
	Subject    string
	Paragraphs []string // before the picture
	Steps      []string // numbered
	Picture    []byte   // PNG, drawn 42 mm wide
	Caption    string   // under the picture: the same address to be typed
	After      []string // paragraphs under it
	Foot       string
}

// Millimetres of an A4 page.
const (
	margin      = 22.0
	pageWidth   = 210.0
	windowLeft  = 110.0
	windowTop   = 45.0
	pictureSide = 42.0
	lineHeight  = 5.4
)

// Write writes the letter as PDF 1.4, as WriteAll does with several.
func (l Letter) Write(w io.Writer, written time.Time) error { return WriteAll(w, written, l) }

// WriteAll writes letters as the pages of one PDF 1.4, which bears the subject
// and the language of the first. The error says what is wrong with a picture, or
// that the fonts were not built in (make assets).
func WriteAll(w io.Writer, written time.Time, all ...Letter) error {
	if len(all) == 0 {
		return errors.New("write letters: there are none")
	}
	regular, bold, err := fonts()
	if err != nil {
		return err
	}
	p := fpdf.New("P", "mm", "A4", "")
	p.SetCreationDate(written)
	p.SetModificationDate(written)
	p.SetTitle(all[0].Subject, true)
	p.SetLang(all[0].Lang)
	p.SetMargins(margin, margin, margin)
	p.AddUTF8FontFromBytes("dejavu", "", regular)
	p.AddUTF8FontFromBytes("dejavu", "B", bold)
	for i, l := range all {
		l.page(p, fmt.Sprintf("picture %d", i))
	}
	if err := p.Output(w); err != nil {
		return fmt.Errorf("write letter: %w", err)
	}
	return nil
}

// page adds the letter; its picture is kept under the name.
func (l Letter) page(p *fpdf.Fpdf, name string) {
	p.SetAutoPageBreak(true, margin)
	p.AddPage()
	p.SetFont("dejavu", "B", 10.5)
	for i, line := range l.From {
		if i == 1 {
			p.SetFont("dejavu", "", 9.5)
		}
		p.CellFormat(80, lineHeight, line, "", 1, "L", false, 0, "")
	}
	p.SetFont("dejavu", "", 10.5)
	p.SetXY(windowLeft, windowTop)
	for _, line := range l.To {
		p.SetX(windowLeft)
		p.MultiCell(pageWidth-windowLeft-margin, lineHeight, line, "", "L", false)
	}
	p.SetY(max(p.GetY(), windowTop+28))
	p.SetX(windowLeft)
	p.MultiCell(pageWidth-windowLeft-margin, lineHeight, l.Place, "", "L", false)
	p.Ln(8)
	p.SetFont("dejavu", "B", 11)
	p.MultiCell(0, 6, l.Subject, "", "L", false)
	p.Ln(4)
	p.SetFont("dejavu", "", 10.5)
	paragraphs(p, l.Paragraphs)
	for i, step := range l.Steps {
		p.SetX(margin)
		p.CellFormat(8, lineHeight, fmt.Sprintf("%d.", i+1), "", 0, "R", false, 0, "")
		p.SetX(margin + 11)
		p.MultiCell(pageWidth-2*margin-11, lineHeight, step, "", "L", false)
		p.Ln(1.6)
	}
	if len(l.Picture) > 0 {
		p.Ln(4)
		p.RegisterImageOptionsReader(name, fpdf.ImageOptions{ImageType: "PNG"}, bytes.NewReader(l.Picture))
		p.ImageOptions(name, (pageWidth-pictureSide)/2, p.GetY(), pictureSide, pictureSide, true, fpdf.ImageOptions{ImageType: "PNG"}, 0, "")
		p.Ln(1)
		p.SetFont("dejavu", "", 9)
		p.MultiCell(0, 4.6, l.Caption, "", "C", false)
		p.Ln(4)
		p.SetFont("dejavu", "", 10.5)
	}
	paragraphs(p, l.After)
	if l.Foot != "" {
		p.SetAutoPageBreak(false, 0)
		p.SetY(-18)
		p.SetFont("dejavu", "", 8)
		p.MultiCell(0, 4, l.Foot, "", "C", false)
	}
}

func paragraphs(p *fpdf.Fpdf, all []string) {
	for _, text := range all {
		p.MultiCell(0, lineHeight, strings.TrimSpace(text), "", "L", false)
		p.Ln(2.6)
	}
}

func fonts() (regular, bold []byte, err error) {
	regular, err = fs.ReadFile(templates.Static, "static/dist/DejaVuSans.ttf")
	bold, err2 := fs.ReadFile(templates.Static, "static/dist/DejaVuSans-Bold.ttf")
	if err = errors.Join(err, err2); err != nil {
		return nil, nil, fmt.Errorf("the letters' fonts are not built in, run make assets: %w", err)
	}
	return regular, bold, nil
}
