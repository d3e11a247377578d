package shim

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// callMeta is the meta of CALL; objects are kept as the JSON that they came as.
type callMeta struct {
	id          string
	method      string
	path        string
	traceparent string
	timeoutMs   float64
	query       []byte
	headers     []byte
	params      []byte
	trigger     []byte
	caller      []byte
}

func (m *callMeta) parse(text []byte) bool {
	m.query, m.headers, m.params, m.trigger = emptyObject, emptyObject, emptyObject, emptyObject
	return eachMember(text, func(name string, raw []byte) {
		switch name {
		case "id":
			m.id = textOf(raw)
		case "method":
			m.method = textOf(raw)
		case "path":
			m.path = textOf(raw)
		case "traceparent":
			m.traceparent = textOf(raw)
		case "timeoutMs":
			value, _ := parseJSON(raw)
			m.timeoutMs = toNumber(value)
		case "query":
			m.query = raw
		case "headers":
			m.headers = raw
		case "params":
			m.params = raw
		case "trigger":
			m.trigger = raw
		case "caller":
			m.caller = raw
		}
	})
}

var emptyObject = []byte("{}")

func textOf(raw []byte) string {
	p := parser{text: raw}
	text, _ := p.string()
	return text
}

// bodyForm is how vectors/events.json reads a body.
type bodyForm int

const (
	bodyIsNull bodyForm = iota
	bodyIsEmptyObject
	bodyIsJSON
	bodyIsText
	bodyIsBinary
)

// formOf decides how a body is read; bodyIsJSON only promises to try: `maybe` says that text is as good.
func (c *call) formOf() (form bodyForm, maybe bool) {
	if len(c.body) == 0 {
		if triggerType(c.meta.trigger) == "invoke" {
			return bodyIsEmptyObject, false
		}
		return bodyIsNull, false
	}
	if coding, _ := headerOf(c.meta.headers, "content-encoding"); isEncoded(coding) {
		return bodyIsBinary, false
	}
	contentType, present := headerOf(c.meta.headers, "content-type")
	if !present {
		return bodyIsJSON, true
	}
	mediaType, parameters, _ := strings.Cut(strings.ToLower(contentType), ";")
	mediaType = strings.Trim(mediaType, " \t")
	switch {
	case mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"):
		return bodyIsJSON, false
	case mediaType == "application/x-www-form-urlencoded" || strings.HasPrefix(mediaType, "text/"):
		if charset := charsetOf(parameters); charset != "" && charset != "utf-8" && charset != "us-ascii" {
			return bodyIsBinary, false
		}
		return c.textOrBinary(), false
	}
	return bodyIsBinary, false
}

// isEncoded: a compressed body, say, is bytes whatever it holds.
func isEncoded(coding string) bool {
	coding = strings.ToLower(strings.TrimSpace(coding))
	return coding != "" && coding != "identity"
}

func (c *call) textOrBinary() bodyForm {
	if utf8.Valid(c.body) {
		return bodyIsText
	}
	return bodyIsBinary
}

func triggerType(trigger []byte) (kind string) {
	eachMember(trigger, func(name string, raw []byte) {
		if name == "type" {
			kind = textOf(raw)
		}
	})
	return kind
}

func headerOf(headers []byte, wanted string) (value string, present bool) {
	eachMember(headers, func(name string, raw []byte) {
		if name == wanted {
			value, present = textOf(raw), true
		}
	})
	return value, present
}

func charsetOf(parameters string) string {
	for _, parameter := range strings.Split(parameters, ";") {
		name, value, _ := strings.Cut(strings.Trim(parameter, " \t"), "=")
		if name == "charset" {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// buildEvent makes the event for handlers that take any or a map.
func (c *call) buildEvent() (map[string]any, error) {
	event := make(map[string]any, 10)
	body, isBase64, err := c.bodyValue()
	if err != nil {
		return nil, err
	}
	event["body"] = body
	event["isBase64Encoded"] = isBase64
	event["method"] = c.meta.method
	event["path"] = c.meta.path
	event["requestId"] = c.meta.id
	event["rawBody"] = c.body
	event["query"], _ = parseJSON(c.meta.query)
	event["headers"], _ = parseJSON(c.meta.headers)
	event["params"], _ = parseJSON(c.meta.params)
	event["trigger"], _ = parseJSON(c.meta.trigger)
	return event, nil
}

func (c *call) bodyValue() (body any, isBase64 bool, err error) {
	form, maybe := c.formOf()
	if form == bodyIsJSON {
		if value, ok := parseJSON(c.body); ok {
			return value, false, nil
		}
		if !maybe {
			return nil, false, errInvalidRequest
		}
		form = c.textOrBinary()
	}
	switch form {
	case bodyIsEmptyObject:
		return map[string]any{}, false, nil
	case bodyIsText:
		return string(c.body), false, nil
	case bodyIsBinary:
		return base64.StdEncoding.EncodeToString(c.body), true, nil
	}
	return nil, false, nil
}

// appendEventJSON writes the event for handlers that take a type of their own.
func (c *call) appendEventJSON(dst []byte) ([]byte, error) {
	body, isBase64, err := c.bodyText()
	if err != nil {
		return dst, err
	}
	dst = append(append(dst, `{"body":`...), body...)
	dst = append(append(dst, `,"headers":`...), c.meta.headers...)
	dst = appendString(append(dst, `,"method":`...), c.meta.method)
	dst = appendString(append(dst, `,"path":`...), c.meta.path)
	dst = append(append(dst, `,"query":`...), c.meta.query...)
	dst = append(append(dst, `,"params":`...), c.meta.params...)
	dst = append(append(dst, `,"trigger":`...), c.meta.trigger...)
	dst = appendString(append(dst, `,"requestId":`...), c.meta.id)
	if isBase64 {
		return append(dst, `,"isBase64Encoded":true}`...), nil
	}
	return append(dst, `,"isBase64Encoded":false}`...), nil
}

func (c *call) bodyText() (text []byte, isBase64 bool, err error) {
	form, maybe := c.formOf()
	if form == bodyIsJSON {
		if isStrictJSON(c.body) {
			return c.body, false, nil
		}
		if !maybe {
			return nil, false, errInvalidRequest
		}
		form = c.textOrBinary()
	}
	switch form {
	case bodyIsEmptyObject:
		return emptyObject, false, nil
	case bodyIsText:
		return appendString(nil, string(c.body)), false, nil
	case bodyIsBinary:
		return appendString(nil, base64.StdEncoding.EncodeToString(c.body)), true, nil
	}
	return []byte("null"), false, nil
}
