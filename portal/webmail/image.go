package webmail

import (
	"bytes"
	"encoding/base64"
	"html"
	"strings"

	nethtml "golang.org/x/net/html"
)

// image writes an <img>: a picture that came with the message as a data: URL
// (the sandboxed document has no origin, so no cookie would reach a part of
// ours), any other as its alternative text. Nothing is fetched from outside.
func (s *sanitizer) image(t nethtml.Token) {
	var source, alt string
	var kept []nethtml.Attribute
	for _, a := range t.Attr {
		switch a.Key {
		case "src":
			if source == "" {
				source = browserURL(a.Val)
			}
		case "alt":
			alt = cleanLine(a.Val)
		case "width", "height", "align", "border", "style", "class", "title", "hspace", "vspace":
			kept = append(kept, a)
		case "srcset":
			if sources := strings.Fields(a.Val); source == "" && len(sources) > 0 {
				source = browserURL(sources[0])
			}
		}
	}
	data := s.picture(source)
	if s.narrow {
		kept = nil
	}
	if data == "" && s.narrow {
		s.text(alt)
		return
	}
	if data == "" {
		s.blocked(source, alt, kept)
		return
	}
	s.imageAt(data, alt, kept)
}

func (s *sanitizer) imageAt(address, alt string, kept []nethtml.Attribute) {
	s.out.WriteString("<img")
	s.write("src", address)
	s.write("alt", alt)
	for _, a := range kept {
		if value, ok := s.attribute("img", a); ok {
			s.write(a.Key, value)
		}
	}
	s.out.WriteString(">")
}

// picture is the data: URL of an image that came with the message.
func (s *sanitizer) picture(source string) string {
	var content []byte
	lower := strings.ToLower(source)
	switch {
	case strings.HasPrefix(lower, "cid:"):
		if s.inline != nil {
			_, content = s.inline(source[4:])
		}
	case strings.HasPrefix(lower, "data:image/"):
		head, body, found := strings.Cut(source, ",")
		if found && strings.HasSuffix(strings.ToLower(head), ";base64") && len(body) < maxInlineImage*3/2 {
			content = decodeBase64([]byte(body))
		}
	}
	kind := rasterType(content)
	if kind == "" || len(content) > maxInlineImage || s.images+len(content) > maxInlineImages {
		return ""
	}
	s.images += len(content)
	return "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(content)
}

// blocked stands where a picture is not shown, unless remote ones are and it is
// one. Counters of one pixel are never fetched, and not worth a mark.
func (s *sanitizer) blocked(source, alt string, attributes []nethtml.Attribute) {
	for _, a := range attributes {
		if v := strings.TrimSpace(a.Val); (a.Key == "width" || a.Key == "height") && (v == "0" || v == "1" || v == "2") {
			if s.fetch == nil {
				s.remote(source)
			}
			return
		}
	}
	if s.fetch != nil && s.result.Shown < maxRemoteImages {
		if address := s.fetch(source); address != "" {
			s.result.Shown++
			s.imageAt(address, alt, attributes)
			return
		}
	}
	s.remote(source)
	s.out.WriteString(`<span class="beffroi-image">` + html.EscapeString(alt) + `</span>`)
}

// rasterType is the type of an image by its first bytes, "" for everything
// that is not a plain raster image. The sender's word is not asked.
func rasterType(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png"
	case bytes.HasPrefix(b, []byte("\xff\xd8\xff")):
		return "image/jpeg"
	case bytes.HasPrefix(b, []byte("GIF87a")), bytes.HasPrefix(b, []byte("GIF89a")):
		return "image/gif"
	case len(b) > 12 && bytes.HasPrefix(b, []byte("RIFF")) && string(b[8:12]) == "WEBP":
		return "image/webp"
	case len(b) > 12 && string(b[4:12]) == "ftypavif":
		return "image/avif"
	case len(b) > 30 && bytes.HasPrefix(b, []byte("BM")):
		return "image/bmp"
	}
	return ""
}
