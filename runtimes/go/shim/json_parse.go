package shim

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const maxJSONDepth = 512

// parser reads strict JSON, which encoding/json is not: it takes invalid UTF-8 and any depth.
type parser struct {
	text  []byte
	at    int
	depth int
	// skip: check only, build nothing.
	skip bool
}

// parseJSON reads one strict JSON text: objects as map[string]any, arrays as []any, numbers as float64.
func parseJSON(text []byte) (any, bool) {
	return parseWhole(text, false)
}

func isStrictJSON(text []byte) bool {
	_, ok := parseWhole(text, true)
	return ok
}

func parseWhole(text []byte, skip bool) (any, bool) {
	if !utf8.Valid(text) {
		return nil, false
	}
	p := parser{text: text, skip: skip}
	p.space()
	value, ok := p.value()
	p.space()
	return value, ok && p.at == len(text)
}

// eachMember calls visit with the names and raw values of the object that text is; false when it is none.
func eachMember(text []byte, visit func(name string, raw []byte)) bool {
	if !utf8.Valid(text) {
		return false
	}
	p := parser{text: text}
	p.space()
	isObject := p.members(func(name string) bool {
		start := p.at
		p.skip = true
		_, ok := p.value()
		p.skip = false
		if ok {
			visit(name, text[start:p.at])
		}
		return ok
	})
	p.space()
	return isObject && p.at == len(text)
}

func (p *parser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *parser) value() (any, bool) {
	switch c := p.peek(); c {
	case '{':
		return p.object()
	case '[':
		return p.array()
	case '"':
		return p.boxedString()
	case 't':
		return true, p.word("true")
	case 'f':
		return false, p.word("false")
	case 'n':
		return nil, p.word("null")
	default:
		return p.number()
	}
}

func (p *parser) word(word string) bool {
	if !bytes.HasPrefix(p.text[p.at:], []byte(word)) {
		return false
	}
	p.at += len(word)
	return true
}

func (p *parser) object() (any, bool) {
	var object map[string]any
	if !p.skip {
		object = make(map[string]any, 4)
	}
	ok := p.members(func(name string) bool {
		value, ok := p.value()
		if ok && object != nil {
			object[name] = value
		}
		return ok
	})
	return object, ok
}

// members reads an object; take reads each value.
func (p *parser) members(take func(name string) bool) bool {
	if p.peek() != '{' || !p.enter() {
		return false
	}
	p.at++
	p.space()
	if p.peek() == '}' {
		return p.leave()
	}
	for {
		name, ok := p.string()
		if !ok {
			return false
		}
		p.space()
		if p.peek() != ':' {
			return false
		}
		p.at++
		p.space()
		if !take(name) {
			return false
		}
		p.space()
		switch p.peek() {
		case ',':
			p.at++
			p.space()
		case '}':
			return p.leave()
		default:
			return false
		}
	}
}

func (p *parser) array() (any, bool) {
	if !p.enter() {
		return nil, false
	}
	p.at++
	p.space()
	array := []any{}
	if p.peek() == ']' {
		return array, p.leave()
	}
	for {
		value, ok := p.value()
		if !ok {
			return nil, false
		}
		if !p.skip {
			array = append(array, value)
		}
		p.space()
		switch p.peek() {
		case ',':
			p.at++
			p.space()
		case ']':
			return array, p.leave()
		default:
			return nil, false
		}
	}
}

func (p *parser) enter() bool {
	p.depth++
	return p.depth <= maxJSONDepth
}

func (p *parser) leave() bool {
	p.depth--
	p.at++
	return true
}

func (p *parser) boxedString() (any, bool) {
	text, ok := p.string()
	if p.skip {
		return nil, ok
	}
	return text, ok
}

func (p *parser) string() (string, bool) {
	if p.peek() != '"' {
		return "", false
	}
	p.at++
	for i := p.at; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			raw := p.text[p.at:i]
			p.at = i + 1
			if p.skip {
				return "", true
			}
			return string(raw), true
		case c == '\\':
			return p.escapedString(i)
		case c < 0x20:
			return "", false
		}
	}
	return "", false
}

// escapedString reads on from the first backslash, at index i.
func (p *parser) escapedString(i int) (string, bool) {
	out := append([]byte(nil), p.text[p.at:i]...)
	for i < len(p.text) {
		c := p.text[i]
		switch {
		case c == '"':
			p.at = i + 1
			return string(out), true
		case c < 0x20:
			return "", false
		case c != '\\':
			out = append(out, c)
			i++
		default:
			r, size := unescape(p.text[i:])
			if size == 0 {
				return "", false
			}
			out = utf8.AppendRune(out, r)
			i += size
		}
	}
	return "", false
}

// unescape reads one escape, or a pair of surrogates; a lone one becomes U+FFFD, as strings are UTF-8. Size 0: not valid.
func unescape(text []byte) (r rune, size int) {
	if len(text) < 2 {
		return 0, 0
	}
	switch text[1] {
	case '"', '\\', '/':
		return rune(text[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		first, ok := hex4(text)
		if !ok {
			return 0, 0
		}
		if !utf16.IsSurrogate(first) {
			return first, 6
		}
		if second, ok := hex4(text[6:]); ok {
			if pair := utf16.DecodeRune(first, second); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	}
	return 0, 0
}

// hex4 reads `\uXXXX`.
func hex4(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range text[2:6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func (p *parser) number() (any, bool) {
	start := p.at
	if p.peek() == '-' {
		p.at++
	}
	if p.peek() == '0' {
		p.at++
	} else if !p.digits() {
		return nil, false
	}
	if p.peek() == '.' {
		p.at++
		if !p.digits() {
			return nil, false
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		if !p.digits() {
			return nil, false
		}
	}
	if p.skip {
		return nil, true
	}
	// Out of range gives an infinity, which is what the other languages read.
	number, _ := strconv.ParseFloat(string(p.text[start:p.at]), 64)
	return number, true
}

func (p *parser) digits() bool {
	start := p.at
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.at++
	}
	return p.at > start
}
