package webmail

import (
	"regexp"
	"strings"

	nethtml "golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"beffroi/templates"
)

const maxShownText = 512 << 10 // bytes of a text part shown on the page

var (
	webAddress  = regexp.MustCompile(`(?i)\b(?:https?://|www\.)[^\s<>"'\x60]+`)
	mailAddress = regexp.MustCompile(`(?i)\b[a-z0-9][a-z0-9._%+-]{0,63}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}\b`)
)

// textBlocks makes a plain text readable: quoted text in blocks that fold,
// addresses as links. It returns data, never markup: the template escapes it.
func textBlocks(text string, flowed bool, own []string) []templates.MailTextBlock {
	var blocks []templates.MailTextBlock
	for _, line := range textLines(text, flowed) {
		depth, rest := quoteDepth(line)
		last := len(blocks) - 1
		if last < 0 || blocks[last].Quote != depth {
			blocks = append(blocks, templates.MailTextBlock{Quote: depth})
			last++
		}
		blocks[last].Lines = append(blocks[last].Lines, linkify(rest, own))
	}
	// Quoted text folds when something of the writer's own stands beside it.
	for i := range blocks {
		blocks[i].Fold = blocks[i].Quote > 0 && len(blocks) > 1 && len(blocks[i].Lines) > 4
	}
	return joinQuotes(blocks)
}

// joinQuotes puts neighbouring quotes of different depth under one fold.
func joinQuotes(blocks []templates.MailTextBlock) []templates.MailTextBlock {
	for i := 1; i < len(blocks); i++ {
		if blocks[i].Quote > 0 && blocks[i-1].Quote > 0 && blocks[i-1].Fold {
			blocks[i].Fold = true
		}
	}
	return blocks
}

func textLines(text string, flowed bool) []string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	lines := strings.Split(strings.TrimRight(text, "\n \t"), "\n")
	if !flowed {
		return lines
	}
	var joined []string // RFC 3676: a line that ends with a space goes on
	continues := false
	for _, line := range lines {
		depth, rest := quoteDepth(line)
		if continues {
			last := len(joined) - 1
			if before, _ := quoteDepth(joined[last]); before == depth {
				joined[last] += rest
			} else {
				joined = append(joined, line)
			}
		} else {
			if depth == 0 {
				line = strings.TrimPrefix(line, " ") // space stuffing
			}
			joined = append(joined, line)
		}
		continues = strings.HasSuffix(line, " ") && line != "-- "
	}
	return joined
}

func quoteDepth(line string) (int, string) {
	depth := 0
	rest := line
	for depth < 20 {
		trimmed := strings.TrimPrefix(rest, " ")
		if !strings.HasPrefix(trimmed, ">") {
			break
		}
		rest = trimmed[1:]
		depth++
	}
	if depth == 0 {
		return 0, line
	}
	return depth, strings.TrimPrefix(rest, " ")
}

func linkify(line string, own []string) []templates.MailTextRun {
	line = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || isDirectionMark(r) && r != '\u200e' && r != '\u200f' {
			return -1
		}
		return r
	}, line)
	var runs []templates.MailTextRun
	add := func(text, href, title string) {
		if text != "" {
			runs = append(runs, templates.MailTextRun{Text: text, Href: href, Title: title})
		}
	}
	at := 0
	for _, m := range webAddress.FindAllStringIndex(line, 200) {
		shown := strings.TrimRight(line[m[0]:m[1]], ".,;:!?'\"»”’*_")
		for strings.HasSuffix(shown, ")") && strings.Count(shown, ")") > strings.Count(shown, "(") {
			shown = strings.TrimSuffix(shown, ")")
		}
		address := shown
		if strings.HasPrefix(strings.ToLower(address), "www.") {
			address = "https://" + address
		}
		target, host := linkTarget(address, "")
		if target == "" {
			continue
		}
		for _, run := range linkMail(line[at:m[0]]) {
			add(run.Text, run.Href, "")
		}
		add(shown, target, host)
		if doubtful(host, own) {
			runs[len(runs)-1].Warn = host
		}
		at = m[0] + len(shown)
	}
	return append(runs, linkMail(line[at:])...)
}

func linkMail(text string) []templates.MailTextRun {
	var runs []templates.MailTextRun
	at := 0
	for _, m := range mailAddress.FindAllStringIndex(text, 200) {
		if m[0] > at {
			runs = append(runs, templates.MailTextRun{Text: text[at:m[0]]})
		}
		address := text[m[0]:m[1]]
		runs = append(runs, templates.MailTextRun{Text: address, Href: composeTo(address)})
		at = m[1]
	}
	if at < len(text) {
		runs = append(runs, templates.MailTextRun{Text: text[at:]})
	}
	return runs
}

// textOf is what a sanitised document says, for quoting, previews and the plain view.
func textOf(markup string) string {
	var out strings.Builder
	newline := func(n int) {
		s := out.String()
		have := len(s) - len(strings.TrimRight(s, "\n"))
		if s != "" && have < n {
			out.WriteString(strings.Repeat("\n", n-have))
		}
	}
	z := nethtml.NewTokenizer(strings.NewReader(markup))
	href, pre := "", 0
	for {
		switch z.Next() {
		case nethtml.ErrorToken:
			return strings.TrimSpace(out.String()) + "\n"
		case nethtml.TextToken:
			text := string(z.Text())
			if pre == 0 {
				folded := strings.Join(strings.Fields(text), " ")
				if folded == "" {
					if s := out.String(); text != "" && s != "" && !strings.HasSuffix(s, "\n") && !strings.HasSuffix(s, " ") {
						out.WriteString(" ")
					}
					continue
				}
				if s := out.String(); strings.ContainsAny(text[:1], " \t\r\n") && s != "" && !strings.HasSuffix(s, "\n") && !strings.HasSuffix(s, " ") {
					out.WriteString(" ")
				}
				out.WriteString(folded)
				if strings.ContainsAny(text[len(text)-1:], " \t\r\n") {
					out.WriteString(" ")
				}
			} else {
				out.WriteString(text)
			}
		case nethtml.StartTagToken, nethtml.SelfClosingTagToken:
			t := z.Token()
			switch t.DataAtom {
			case atom.Br:
				out.WriteString("\n")
			case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Blockquote, atom.Table, atom.Ul, atom.Ol:
				newline(2)
			case atom.Div, atom.Tr, atom.Section:
				newline(1)
			case atom.Li:
				newline(1)
				out.WriteString("- ")
			case atom.Hr:
				newline(1)
				out.WriteString("----\n")
			case atom.Pre:
				newline(1)
				pre++
			case atom.A:
				href = ""
				for _, a := range t.Attr {
					if a.Key == "href" && strings.HasPrefix(a.Val, "http") {
						href = a.Val
					}
				}
			}
		case nethtml.EndTagToken:
			switch t := z.Token(); t.DataAtom {
			case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Blockquote, atom.Table, atom.Ul, atom.Ol:
				newline(2)
			case atom.Div, atom.Tr, atom.Li:
				newline(1)
			case atom.Td, atom.Th:
				if s := out.String(); s != "" && !strings.HasSuffix(s, "\n") && !strings.HasSuffix(s, " ") {
					out.WriteString(" ")
				}
			case atom.Pre:
				pre = max(0, pre-1)
			case atom.A:
				if href != "" && !strings.HasSuffix(strings.TrimSpace(out.String()), strings.TrimSuffix(href, "/")) {
					out.WriteString(" <" + href + ">")
				}
				href = ""
			}
		}
	}
}
