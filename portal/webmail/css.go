package webmail

import (
	"bytes"
	"strings"

	"github.com/tdewolff/parse/v2"
	"github.com/tdewolff/parse/v2/css"
)

const (
	maxStyleSheet = 256 << 10 // of one message, all <style> together
	maxStyleAttr  = 8 << 10
)

// cssProperties may be set by a message. Nothing that loads, moves or leaves
// the flow of the page: position has its own rule below.
var cssProperties = set(`
	background background-color border border-bottom border-bottom-color border-bottom-left-radius border-bottom-right-radius
	border-bottom-style border-bottom-width border-collapse border-color border-left border-left-color border-left-style
	border-left-width border-radius border-right border-right-color border-right-style border-right-width border-spacing
	border-style border-top border-top-color border-top-left-radius border-top-right-radius border-top-style border-top-width
	border-width box-sizing caption-side clear color direction display empty-cells float font font-family font-size font-style
	font-variant font-weight height letter-spacing line-height list-style list-style-position list-style-type margin
	margin-bottom margin-left margin-right margin-top max-height max-width min-height min-width opacity overflow overflow-wrap
	overflow-x overflow-y padding padding-bottom padding-left padding-right padding-top position quotes table-layout text-align
	text-decoration text-decoration-color text-decoration-line text-decoration-style text-indent text-overflow text-transform
	vertical-align visibility white-space width word-break word-spacing word-wrap align-items align-content align-self
	justify-content flex flex-basis flex-direction flex-flow flex-grow flex-shrink flex-wrap gap order`)

// cssFunctions may stand in a value. var() is out: it carries a value from a
// place that was allowed to one that was not (CVE-2026-48846 of Roundcube).
var cssFunctions = set(`rgb rgba hsl hsla calc min max clamp linear-gradient radial-gradient translate`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// cleanStyle is the harmless part of a style attribute.
func cleanStyle(style string) string {
	if len(style) > maxStyleAttr {
		return ""
	}
	var out strings.Builder
	p := css.NewParser(parse.NewInputString(style), true)
	for {
		kind, _, data := p.Next()
		switch kind {
		case css.ErrorGrammar:
			if p.HasParseError() {
				continue
			}
			return strings.TrimSuffix(out.String(), ";")
		case css.DeclarationGrammar:
			writeDeclaration(&out, data, p.Values())
		}
	}
}

// cleanStyleSheet is the harmless part of a <style> element: rules of allowed
// properties, and @media around them.
func cleanStyleSheet(sheet string) string {
	if len(sheet) > maxStyleSheet {
		sheet = sheet[:maxStyleSheet]
	}
	sheet = strings.NewReplacer("<!--", "", "-->", "").Replace(sheet)
	var out strings.Builder
	p := css.NewParser(parse.NewInputString(sheet), false)
	media := 0           // @media blocks open in out
	skipping := 0        // blocks open that are left out
	open := false        // a ruleset is open in out
	var selectors []byte // of the ruleset being read, over several grammars
	bad := false
	for {
		kind, _, data := p.Next()
		switch kind {
		case css.ErrorGrammar:
			if p.HasParseError() {
				continue
			}
			if open {
				out.WriteString("}")
			}
			out.WriteString(strings.Repeat("}", media))
			return out.String()
		case css.BeginAtRuleGrammar:
			condition, ok := mediaCondition(p.Values())
			if skipping > 0 || !strings.EqualFold(string(data), "@media") || !ok || media > 3 {
				skipping++
				continue
			}
			media++
			out.WriteString("@media " + condition + "{")
		case css.EndAtRuleGrammar:
			if skipping > 0 {
				skipping--
			} else if media > 0 {
				media--
				out.WriteString("}")
			}
		case css.QualifiedRuleGrammar, css.BeginRulesetGrammar:
			text, ok := selectorText(p.Values())
			bad = bad || !ok
			if len(selectors) > 0 {
				selectors = append(selectors, ',')
			}
			selectors = append(selectors, text...)
			if kind == css.QualifiedRuleGrammar {
				continue
			}
			if skipping > 0 || bad || len(selectors) == 0 {
				skipping++
			} else {
				out.Write(selectors)
				out.WriteString("{")
				open = true
			}
			selectors, bad = nil, false
		case css.EndRulesetGrammar:
			if skipping > 0 {
				skipping--
			} else if open {
				out.WriteString("}")
				open = false
			}
		case css.DeclarationGrammar:
			if skipping == 0 && open {
				writeDeclaration(&out, data, p.Values())
			}
		}
	}
}

func writeDeclaration(out *strings.Builder, name []byte, values []css.Token) {
	property := strings.ToLower(string(name))
	if !cssProperties[property] {
		return
	}
	var value bytes.Buffer
	words := map[string]bool{}
	for _, v := range values {
		text := strings.ToLower(string(v.Data))
		switch v.TokenType {
		case css.CommentToken:
			continue
		case css.FunctionToken:
			if !cssFunctions[strings.TrimSuffix(text, "(")] {
				return
			}
		case css.IdentToken, css.NumberToken, css.PercentageToken, css.DimensionToken, css.HashToken, css.StringToken,
			css.WhitespaceToken, css.CommaToken, css.DelimToken, css.LeftParenthesisToken, css.RightParenthesisToken:
			words[text] = true
		default: // url(), bad url(), bad strings, braces, unicode ranges …
			return
		}
		// An escape could spell what was just refused; '<' could end the <style>.
		if strings.ContainsAny(text, `\<{};@`) || v.TokenType == css.StringToken && strings.ContainsAny(text, "()/") {
			return
		}
		value.Write(v.Data)
	}
	if value.Len() == 0 || property == "position" && !words["relative"] && !words["static"] {
		return
	}
	if property == "position" && (words["fixed"] || words["sticky"] || words["absolute"]) {
		return
	}
	out.WriteString(property + ":" + strings.TrimSpace(value.String()) + ";")
}

func selectorText(values []css.Token) (string, bool) {
	var out strings.Builder
	for _, v := range values {
		switch v.TokenType {
		case css.CommentToken:
			continue
		case css.IdentToken, css.HashToken, css.WhitespaceToken, css.DelimToken, css.ColonToken, css.CommaToken,
			css.LeftBracketToken, css.RightBracketToken, css.IncludeMatchToken, css.DashMatchToken, css.PrefixMatchToken,
			css.SuffixMatchToken, css.SubstringMatchToken, css.StringToken:
		default:
			return "", false
		}
		if bytes.ContainsAny(v.Data, `\<{};@()`) {
			return "", false
		}
		out.Write(v.Data)
	}
	return out.String(), out.Len() > 0
}

func mediaCondition(values []css.Token) (string, bool) {
	var out strings.Builder
	for _, v := range values {
		switch v.TokenType {
		case css.CommentToken:
			continue
		case css.IdentToken, css.WhitespaceToken, css.ColonToken, css.CommaToken, css.NumberToken, css.DimensionToken,
			css.LeftParenthesisToken, css.RightParenthesisToken:
		default:
			return "", false
		}
		if bytes.ContainsAny(v.Data, `\<{};@`) {
			return "", false
		}
		out.Write(v.Data)
	}
	text := strings.TrimSpace(out.String())
	return text, text != ""
}
