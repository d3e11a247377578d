package shim

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
)

var errNotBase64 = errors.New("isBase64Encoded is true, but the body is not base64")

// respond sends what the handler returned; its error says why that can't be done, as long as nothing was sent.
func (c *call) respond(result any) error {
	if result == nil {
		return c.sendBody(head{status: 200}, nil)
	}
	object, ok, err := responseObject(result)
	if err != nil {
		return err
	}
	if !ok {
		return c.sendBody(head{status: 200}, result)
	}
	return c.respondObject(object)
}

// responseObject finds the map or struct that may be a response.
func responseObject(result any) (reflect.Value, bool, error) {
	if _, ok := result.(io.Reader); ok {
		return reflect.Value{}, false, nil
	}
	if _, ok := result.(json.Marshaler); ok {
		// Only what it writes tells.
		text, err := json.Marshal(result)
		if err != nil {
			return reflect.Value{}, false, err
		}
		value, _ := parseJSON(text)
		object, ok := value.(map[string]any)
		_, hasStatus := object["statusCode"]
		return reflect.ValueOf(object), ok && hasStatus, nil
	}
	v := reflect.ValueOf(result)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	isObject := v.Kind() == reflect.Struct || (v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String)
	if !isObject {
		return v, false, nil
	}
	_, hasStatus := memberOf(v, "statusCode")
	return v, hasStatus, nil
}

func (c *call) respondObject(object reflect.Value) error {
	given, _ := memberOf(object, "statusCode")
	status, ok := statusOf(given)
	body, hasBody := memberOf(object, "body")
	headers, hasHeaders := memberOf(object, "headers")
	if !ok {
		if hasBody || hasHeaders {
			return fmt.Errorf("statusCode must be an integer from 200 to 599, got %s", showValue(given))
		}
		return c.sendBody(head{status: 200}, object.Interface())
	}
	list, err := headersOf(object, headers)
	if err != nil {
		return err
	}
	h := head{status: status, headers: list}
	if isNil(body) {
		h.kind = bodyNone
		return c.sendWhole(h, nil)
	}
	if isBase64, _ := memberOf(object, "isBase64Encoded"); isBase64 == true {
		if text, ok := stringOf(body); ok {
			bytes, err := base64.StdEncoding.Strict().DecodeString(text)
			// The decoder passes over line breaks.
			if err != nil || strings.ContainsAny(text, "\r\n") {
				return errNotBase64
			}
			h.kind = bodyBinary
			return c.sendWhole(h, bytes)
		}
	}
	return c.sendBody(h, body)
}

func (c *call) sendBody(h head, body any) error {
	if reader, ok := body.(io.Reader); ok {
		h.kind = bodyBinary
		return c.sendStream(h, reader)
	}
	if bytes, ok := bytesOf(body); ok {
		h.kind = bodyBinary
		return c.sendWhole(h, bytes)
	}
	if err, ok := lostError(body); ok {
		return err
	}
	if text, ok := stringOf(body); ok {
		h.kind = bodyText
		return c.sendWhole(h, []byte(strings.ToValidUTF8(text, "\uFFFD")))
	}
	text, err := appendJSON(nil, body, 0)
	if err != nil {
		return err
	}
	h.kind = bodyJSON
	return c.sendWhole(h, text)
}

// lostError takes an error that was returned as a value, whose message would not be in its JSON.
func lostError(value any) (error, bool) {
	err, ok := value.(error)
	if !ok || isNil(value) {
		return nil, false
	}
	if _, ok := value.(json.Marshaler); ok {
		return nil, false
	}
	return err, true
}

func bytesOf(value any) ([]byte, bool) {
	if bytes, ok := value.([]byte); ok {
		return bytes, bytes != nil
	}
	if _, ok := value.(json.Marshaler); ok {
		return nil, false
	}
	v := reflect.ValueOf(value)
	if v.Kind() == reflect.Slice && !v.IsNil() && v.Type().Elem().Kind() == reflect.Uint8 {
		return v.Bytes(), true
	}
	return nil, false
}

// stringOf takes named types too, and pointers to strings.
func stringOf(value any) (string, bool) {
	if text, ok := value.(string); ok {
		return text, true
	}
	if _, ok := value.(json.Marshaler); ok {
		return "", false
	}
	v := reflect.ValueOf(value)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() == reflect.String {
		return v.String(), true
	}
	return "", false
}

func isNil(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return v.IsNil()
	}
	return false
}

func statusOf(value any) (int, bool) {
	status := 0
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		status = int(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		status = int(v.Uint())
	case reflect.Float32, reflect.Float64:
		if v.Float() == math.Trunc(v.Float()) && math.Abs(v.Float()) < 1000 {
			status = int(v.Float())
		}
	case reflect.String:
		if text := v.String(); len(text) == 3 && text[0] >= '2' && text[0] <= '5' {
			status, _ = strconv.Atoi(text)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return statusOf(v.Elem().Interface())
		}
	}
	return status, status >= 200 && status <= 599
}

func showValue(value any) string {
	text, err := appendJSON(nil, value, 0)
	if err != nil {
		return fmt.Sprint(value)
	}
	return shorten(string(text), 100)
}
