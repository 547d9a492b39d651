package webmail

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"mime"
	"path"
	"strings"
	"unicode/utf16"
)

// winmail.dat is how Outlook wraps attachments for other Outlooks (TNEF, [MS-OXTNEF]).
// They are offered like those of any message; what cannot be read stays one file.

const (
	maxTNEF      = 24 << 20 // bytes read of one
	mostTNEF     = 100      // files of one
	tnefSections = 1000     // its files are called 2.1001, 2.1002 …
)

// tnefFile is one of them.
type tnefFile struct {
	name    string
	content []byte
}

// isTNEF tells whether a part is one.
func isTNEF(p *part) bool {
	return p.mediaType == "application/ms-tnef" || p.mediaType == "application/vnd.ms-tnef" || strings.EqualFold(p.filename, "winmail.dat")
}

// unpackTNEF puts the files of winmail.dat among the attachments, in its place.
func (s *service) unpackTNEF(ctx context.Context, who owner, m *message) error {
	var list []*part
	for _, p := range m.body.attachments {
		if !isTNEF(p) || p.size > maxTNEF*3/2 || len(p.path) == 0 {
			list = append(list, p)
			continue
		}
		content, err := io.ReadAll(io.LimitReader(s.content(ctx, who, m, p), maxTNEF))
		if err != nil && len(content) == 0 {
			return err
		}
		files := readTNEF(content)
		if len(files) == 0 {
			list = append(list, p)
			continue
		}
		for i, f := range files {
			kind, _, _ := mime.ParseMediaType(mime.TypeByExtension(strings.ToLower(path.Ext(f.name))))
			child := &part{path: append(append([]int(nil), p.path...), tnefSections+i+1), body: f.content, whole: true, size: int64(len(f.content))}
			child.describe(kind, nil, "attachment", map[string]string{"filename": f.name})
			p.children = append(p.children, child)
			list = append(list, child)
		}
	}
	m.body.attachments = list
	return nil
}

// Attributes of a stream ([MS-OXTNEF] §2.1.3.2) and of a property list ([MS-OXPROPS]).
const (
	tnefSignature   = 0x223e9f78
	attAttachData   = 0x0006800f
	attAttachTitle  = 0x00018010
	attAttachRend   = 0x00069002
	attAttachment   = 0x00069005
	prLongFilename  = 0x3707
	prDisplayName   = 0x3001
	prAttachDataBin = 0x3701
)

// readTNEF reads the attachments; nothing when it is no such stream. It stops at what
// it does not understand, and keeps what it has.
func readTNEF(b []byte) []tnefFile {
	if len(b) < 6 || binary.LittleEndian.Uint32(b) != tnefSignature {
		return nil
	}
	b = b[6:]
	var files []tnefFile
	var one tnefFile
	open := false
	flush := func() {
		if open && len(one.content) > 0 && len(files) < mostTNEF {
			if one.name = cleanFilename(one.name); one.name == "" {
				one.name = "file"
			}
			files = append(files, one)
		}
		one, open = tnefFile{}, false
	}
	for len(b) >= 9 {
		id, size := binary.LittleEndian.Uint32(b[1:]), int64(binary.LittleEndian.Uint32(b[5:]))
		b = b[9:]
		if size+2 > int64(len(b)) { // and its checksum
			break
		}
		data := b[:size]
		b = b[size+2:]
		switch id {
		case attAttachRend: // begins the next one (§2.1.3.3.15)
			flush()
			open = true
		case attAttachTitle:
			if one.name == "" {
				one.name = decodeCharset(bytes.TrimRight(data, "\x00"), "windows-1252")
			}
		case attAttachData:
			one.content = data
		case attAttachment:
			name, content := readProperties(data)
			if name != "" {
				one.name = name
			}
			if len(one.content) == 0 {
				one.content = content
			}
		}
	}
	flush()
	return files
}

// readProperties reads the name and the bytes of an attachment from a property list
// (§2.1.3.4).
func readProperties(b []byte) (name string, content []byte) {
	if len(b) < 4 {
		return "", nil
	}
	count := binary.LittleEndian.Uint32(b)
	b = b[4:]
	take := func(n int64) []byte {
		if n < 0 || n > int64(len(b)) {
			b = nil
			return nil
		}
		v := b[:n]
		b = b[n:]
		return v
	}
	number := func() int64 {
		v := take(4)
		if v == nil {
			return -1
		}
		return int64(binary.LittleEndian.Uint32(v))
	}
	for range min(count, 2000) {
		head := take(4)
		if head == nil {
			return name, content
		}
		kind, id := binary.LittleEndian.Uint16(head), binary.LittleEndian.Uint16(head[2:])
		if id >= 0x8000 { // named: a GUID, then a number or a name
			take(16)
			if number() == 1 {
				n := number()
				take((n + 3) &^ 3)
			} else {
				take(4)
			}
		}
		values := int64(1)
		if kind&0x1000 != 0 {
			values = number()
		}
		for ; values > 0 && b != nil; values-- {
			var v []byte
			switch kind &^ 0x1000 {
			case 0x0002, 0x000b, 0x0003, 0x0004, 0x000a: // 16 and 32 bits, both padded to four
				v = take(4)
			case 0x0005, 0x0006, 0x0007, 0x0014, 0x0040:
				v = take(8)
			case 0x0048:
				v = take(16)
			case 0x001e, 0x001f, 0x0102, 0x000d: // texts, bytes, objects: a count, then each
				n := int64(1)
				if kind&0x1000 == 0 {
					n = number()
				}
				for ; n > 0 && b != nil; n-- {
					size := number()
					v = take(size)
					take((size+3)&^3 - size)
				}
			default:
				return name, content
			}
			switch id {
			case prLongFilename:
				name = tnefText(v, kind)
			case prDisplayName:
				if name == "" {
					name = tnefText(v, kind)
				}
			case prAttachDataBin:
				if kind == 0x000d && len(v) > 16 { // an object begins with what it is
					v = v[16:]
				}
				content = v
			}
		}
	}
	return name, content
}

func tnefText(v []byte, kind uint16) string {
	if kind&^0x1000 != 0x001f {
		return decodeCharset(bytes.TrimRight(v, "\x00"), "windows-1252")
	}
	units := make([]uint16, len(v)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(v[2*i:])
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}
