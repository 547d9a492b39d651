package demo

import (
	"archive/zip"
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"strings"
	"time"
)

// pdfFile writes a one-page PDF 1.4 that every reader opens: a title and lines
// in Helvetica, WinAnsi for the accents.
func pdfFile(title string, lines ...string) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, "BT /F1 16 Tf 56 780 Td (%s) Tj /F1 10 Tf 0 -30 Td 15 TL\n", pdfText(title))
	for _, line := range lines {
		fmt.Fprintf(&text, "(%s) Tj T*\n", pdfText(line))
	}
	text.WriteString("ET")
	objects := []string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", text.Len(), text.String()),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
	}
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	var offsets []int
	for i, object := range objects {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, object)
	}
	table := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, at := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, table)
	return b.Bytes()
}

func pdfText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(string(toLatin1(s)))
}

// chartFile draws a small bar chart.
func chartFile(values ...int) []byte {
	const width, height = 360, 160
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	fillRect(img, img.Bounds(), color.RGBA{0xf6, 0xf3, 0xec, 0xff})
	step := width / max(len(values), 1)
	for i, v := range values {
		bar := image.Rect(i*step+6, height-10-v*(height-20)/100, (i+1)*step-6, height-10)
		fillRect(img, bar, color.RGBA{0x1f, uint8(0x4e + i*12%90), 0x79, 0xff})
	}
	var b bytes.Buffer
	_ = png.Encode(&b, img)
	return b.Bytes()
}

// logoFile is the academy's little tower.
func logoFile() []byte {
	img := image.NewRGBA(image.Rect(0, 0, 48, 48))
	stone := color.RGBA{0x2b, 0x3a, 0x55, 0xff}
	for _, r := range []image.Rectangle{image.Rect(17, 14, 31, 44), image.Rect(14, 40, 34, 46), image.Rect(19, 8, 29, 14), image.Rect(23, 2, 25, 8)} {
		fillRect(img, r, stone)
	}
	fillRect(img, image.Rect(22, 19, 26, 25), color.RGBA{0xe7, 0xb4, 0x4c, 0xff})
	var b bytes.Buffer
	_ = png.Encode(&b, img)
	return b.Bytes()
}

// portraitFile is a face nobody has: a symmetric pattern made of a name.
func portraitFile(name string) []byte {
	const cell, cells = 12, 7
	seed := uint32(hashOf(name))
	img := image.NewRGBA(image.Rect(0, 0, cell*cells, cell*cells))
	fillRect(img, img.Bounds(), color.RGBA{0xee, 0xea, 0xe2, 0xff})
	ink := color.RGBA{uint8(60 + seed%120), uint8(60 + seed>>8%120), uint8(60 + seed>>16%120), 0xff}
	bits := seed | 1
	for y := 1; y < cells-1; y++ {
		for x := 1; x <= cells/2; x++ {
			bits = bits*1664525 + 1013904223
			if bits>>28&1 == 1 {
				for _, at := range []int{x, cells - 1 - x} {
					fillRect(img, image.Rect(at*cell, y*cell, (at+1)*cell, (y+1)*cell), ink)
				}
			}
		}
	}
	var b bytes.Buffer
	_ = jpeg.Encode(&b, img, &jpeg.Options{Quality: 70})
	return b.Bytes()
}

func fillRect(img *image.RGBA, r image.Rectangle, c color.RGBA) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			img.SetRGBA(x, y, c)
		}
	}
}

// docxFile is the least that word processors open as a document.
func docxFile(paragraphs ...string) []byte {
	var body strings.Builder
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	for _, p := range paragraphs {
		body.WriteString("<w:p><w:r><w:t xml:space=\"preserve\">" + escape.Replace(p) + "</w:t></w:r></w:p>")
	}
	const declaration = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range [][2]string{
		{"[Content_Types].xml", declaration + `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>`},
		{"_rels/.rels", declaration + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>`},
		{"word/document.xml", declaration + `<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>` + body.String() + `</w:body></w:document>`},
	} {
		if w, err := z.Create(f[0]); err == nil {
			_, _ = w.Write([]byte(f[1]))
		}
	}
	_ = z.Close()
	return b.Bytes()
}

const docxMedia = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

func pdf(name, title string, lines ...string) attachment {
	return attachment{name: name, media: "application/pdf", data: pdfFile(title, lines...)}
}

func docx(name string, paragraphs ...string) attachment {
	return attachment{name: name, media: docxMedia, data: docxFile(paragraphs...)}
}

func csv(name string, lines ...string) attachment {
	return attachment{name: name, media: "text/csv; charset=utf-8", data: []byte(strings.Join(lines, "\r\n") + "\r\n")}
}

func picture(name, cid string, data []byte) attachment {
	return attachment{name: name, media: "image/png", cid: cid, data: data}
}

// eml is a whole message attached to another, as spam is reported.
func eml(name, subject, text string) attachment {
	raw := compose(written{
		letter: letter{subject: subject, text: text, date: "Tue, 3 Nov 2026 03:14:07 +0000"},
		from:   correspondent{"Service Colis", "suivi@livraison-rapide.test"}, to: []correspondent{{"", "secretariat@academie.test"}},
		when: time.Date(2026, 11, 3, 3, 14, 7, 0, time.UTC), id: "colis@livraison-rapide.test",
	})
	return attachment{name: name, media: "message/rfc822", data: raw}
}
