package shim

import (
	"context"
)

// Exchange is a call as the adapter for net/http sees it.
type Exchange struct {
	call *call
}

// Context is the call's own, as handlers with a context get it.
func (e *Exchange) Context() (context.Context, context.CancelFunc) { return e.call.newContext() }

// Method of the request.
func (e *Exchange) Method() string { return e.call.meta.method }

// Path is the raw one.
func (e *Exchange) Path() string { return e.call.meta.path }

// Body is the raw one.
func (e *Exchange) Body() []byte { return e.call.body }

// Query holds strings, and lists of strings for repeated keys.
func (e *Exchange) Query() map[string]any { return objectOf(e.call.meta.query) }

// Headers hold strings.
func (e *Exchange) Headers() map[string]any { return objectOf(e.call.meta.headers) }

// Params are the path's.
func (e *Exchange) Params() map[string]any { return objectOf(e.call.meta.params) }

// Fail ends the call with an error.
func (e *Exchange) Fail(err error) { e.call.fail(describeError(err)) }

// Begin sends a response's head and the first piece of its body; kind is "json", "text", "binary" or "none".
// With more, Continue follows.
func (e *Exchange) Begin(status int, kind string, headers []string, first []byte, more bool) error {
	h := head{status: status, kind: bodyKind(kind), headers: headers}
	if more {
		return e.call.sendHead(h, first, true)
	}
	return e.call.sendWhole(h, first)
}

// Continue sends further bytes of a body; it is false when the caller is gone, and the call has ended.
func (e *Exchange) Continue(bytes []byte, more bool) bool { return e.call.sendData(bytes, more) }

func objectOf(raw []byte) map[string]any {
	value, _ := parseJSON(raw)
	object, _ := value.(map[string]any)
	return object
}
