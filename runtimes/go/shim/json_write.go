package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"sort"
	"strconv"
	"unicode/utf8"
)

// Deeper than this a value is taken for one that holds itself.
const maxWriteDepth = 10_000

var errCycle = errors.New("JSON can't carry a value that holds itself")

// appendJSON writes what a handler returned. Plain data is written here, with null for numbers that are not finite;
// everything else by encoding/json.
func appendJSON(dst []byte, value any, depth int) ([]byte, error) {
	if depth > maxWriteDepth {
		return dst, errCycle
	}
	switch v := value.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case string:
		return appendString(dst, v), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case float64:
		return appendFloat(dst, v), nil
	case map[string]any:
		return appendMap(dst, v, depth)
	case map[string]string:
		return appendStringMap(dst, v), nil
	case []any:
		return appendList(dst, v, depth)
	case members:
		return appendMembers(dst, v, depth)
	default:
		return appendOther(dst, value, depth)
	}
}

func appendOther(dst []byte, value any, depth int) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	if err == nil {
		return append(dst, bytes.TrimSuffix(buffer.Bytes(), []byte{'\n'})...), nil
	}
	var unsupported *json.UnsupportedValueError
	if !errors.As(err, &unsupported) {
		return dst, err
	}
	if !unsupported.Value.CanFloat() {
		return dst, errCycle
	}
	plain, err := toPlain(reflect.ValueOf(value), depth)
	if err != nil {
		return dst, err
	}
	return appendJSON(dst, plain, depth+1)
}

func appendMap(dst []byte, object map[string]any, depth int) ([]byte, error) {
	if object == nil {
		return append(dst, "null"...), nil
	}
	var err error
	dst = append(dst, '{')
	for i, name := range sortedKeys(object) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
		if dst, err = appendJSON(dst, object[name], depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func appendStringMap(dst []byte, object map[string]string) []byte {
	if object == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '{')
	for i, name := range sortedKeys(object) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
		dst = appendString(dst, object[name])
	}
	return append(dst, '}')
}

func appendMembers(dst []byte, object members, depth int) ([]byte, error) {
	var err error
	dst = append(dst, '{')
	for i, member := range object {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, member.name), ':')
		if dst, err = appendJSON(dst, member.value, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func appendList(dst []byte, list []any, depth int) ([]byte, error) {
	if list == nil {
		return append(dst, "null"...), nil
	}
	var err error
	dst = append(dst, '[')
	for i, item := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendJSON(dst, item, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// sortedKeys makes the output the same from call to call.
func sortedKeys[V any](object map[string]V) []string {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// appendFloat writes numbers as JavaScript does.
func appendFloat(dst []byte, number float64) []byte {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return append(dst, "null"...)
	}
	size := math.Abs(number)
	if size == 0 {
		return append(dst, '0')
	}
	if size >= 1e-6 && size < 1e21 {
		return strconv.AppendFloat(dst, number, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, number, 'e', -1, 64)
	// e-09 is written e-9.
	if n := len(dst); n >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

const hexDigits = "0123456789abcdef"

func appendString(dst []byte, text string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, text[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = appendEscape(append(dst, text[start:i]...), c)
		i++
		start = i
	}
	return append(append(dst, text[start:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
