package shim

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
)

var (
	contextType = reflect.TypeOf((*context.Context)(nil)).Elem()
	errorType   = reflect.TypeOf((*error)(nil)).Elem()
	eventType   = reflect.TypeOf(map[string]any(nil))
	bytesType   = reflect.TypeOf([]byte(nil))

	adaptHTTP func(handler any) func(*Exchange)
)

// AdaptHTTP is called by the package that knows net/http, which is linked only where the function imports it.
func AdaptHTTP(adapt func(handler any) func(*Exchange)) {
	adaptHTTP = adapt
}

// target is the handler, its form found out once.
type target struct {
	serveHTTP func(*Exchange)

	function     reflect.Value
	takesContext bool
	readEvent    func(*call) (reflect.Value, error)
	valueAt      int
	errorAt      int
}

func newTarget(handler any, name string) (*target, error) {
	if adaptHTTP != nil {
		if serve := adaptHTTP(handler); serve != nil {
			return &target{serveHTTP: serve}, nil
		}
	}
	function := reflect.ValueOf(handler)
	if function.Kind() != reflect.Func || function.IsNil() {
		return nil, fmt.Errorf("%s is %s, not a function", name, describeKind(function))
	}
	t := &target{function: function}
	if !t.readParameters() || !t.readResults() {
		return nil, fmt.Errorf("%s is %s; a handler is func([ctx context.Context,] [event T]) [R] [error], T a map, struct or any, or func(http.ResponseWriter, *http.Request)", name, function.Type())
	}
	return t, nil
}

func describeKind(v reflect.Value) string {
	if !v.IsValid() || v.Kind() == reflect.Func {
		return "nil"
	}
	return "a " + v.Type().String()
}

func (t *target) readParameters() bool {
	kind := t.function.Type()
	var parameters []reflect.Type
	for i := 0; i < kind.NumIn(); i++ {
		parameters = append(parameters, kind.In(i))
	}
	if len(parameters) > 0 && parameters[0] == contextType {
		t.takesContext = true
		parameters = parameters[1:]
	}
	if kind.IsVariadic() || len(parameters) > 1 {
		return false
	}
	if len(parameters) == 0 {
		t.readEvent = func(c *call) (reflect.Value, error) { return reflect.Value{}, c.checkBody() }
		return true
	}
	t.readEvent = eventReader(parameters[0])
	return t.readEvent != nil
}

func (t *target) readResults() bool {
	kind := t.function.Type()
	t.valueAt, t.errorAt = -1, -1
	results := kind.NumOut()
	if results > 0 && kind.Out(results-1) == errorType {
		results--
		t.errorAt = results
	}
	if results == 1 {
		t.valueAt = 0
		switch kind.Out(0).Kind() {
		case reflect.Func, reflect.Chan, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
			return false
		}
	}
	return results <= 1
}

func (t *target) call(ctx context.Context, event reflect.Value) (any, error) {
	var arguments [2]reflect.Value
	in := arguments[:0]
	if t.takesContext {
		in = append(in, reflect.ValueOf(ctx))
	}
	if event.IsValid() {
		in = append(in, event)
	}
	out := t.function.Call(in)
	if t.errorAt >= 0 {
		if err, failed := out[t.errorAt].Interface().(error); failed {
			return nil, err
		}
	}
	if t.valueAt < 0 {
		return nil, nil
	}
	return out[t.valueAt].Interface(), nil
}

// eventReader is nil for a type that can't hold an event.
func eventReader(t reflect.Type) func(*call) (reflect.Value, error) {
	if eventType.AssignableTo(t) {
		return func(c *call) (reflect.Value, error) {
			event, err := c.buildEvent()
			return reflect.ValueOf(event), err
		}
	}
	if t.Kind() == reflect.Map && eventType.ConvertibleTo(t) {
		return func(c *call) (reflect.Value, error) {
			event, err := c.buildEvent()
			return reflect.ValueOf(event).Convert(t), err
		}
	}
	if t.Kind() == reflect.Pointer {
		return decodingReader(t.Elem(), func(pointer reflect.Value) reflect.Value { return pointer })
	}
	return decodingReader(t, reflect.Value.Elem)
}

var eventTexts = sync.Pool{New: func() any { return new([]byte) }}

func decodingReader(t reflect.Type, take func(pointer reflect.Value) reflect.Value) func(*call) (reflect.Value, error) {
	_, readsItself := reflect.New(t).Interface().(json.Unmarshaler)
	isObject := t.Kind() == reflect.Struct || (t.Kind() == reflect.Map && t.Key().Kind() == reflect.String)
	if !isObject && !readsItself {
		return nil
	}
	setRawBody := rawBodySetter(t)
	return func(c *call) (reflect.Value, error) {
		pointer := reflect.New(t)
		buffer := eventTexts.Get().(*[]byte)
		text, err := c.appendEventJSON((*buffer)[:0])
		if err == nil {
			err = json.Unmarshal(text, pointer.Interface())
		}
		if cap(text) <= maxKeptBytes {
			*buffer = text
			eventTexts.Put(buffer)
		}
		if err == nil && setRawBody != nil {
			setRawBody(pointer.Elem(), c.body)
		}
		return take(pointer), err
	}
}

// rawBodySetter is nil unless the struct has a field for the exact bytes, of type []byte or string.
func rawBodySetter(t reflect.Type) func(event reflect.Value, body []byte) {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for _, f := range fieldsOf(t) {
		f := f
		if f.name != "rawBody" || len(f.index) != 1 {
			continue
		}
		switch kind := t.FieldByIndex(f.index).Type; {
		case kind == bytesType:
			return func(event reflect.Value, body []byte) { event.FieldByIndex(f.index).SetBytes(body) }
		case kind.Kind() == reflect.String:
			return func(event reflect.Value, body []byte) { event.FieldByIndex(f.index).SetString(string(body)) }
		}
	}
	return nil
}

// checkBody refuses what a handler that takes no event would be spared from seeing.
func (c *call) checkBody() error {
	if form, maybe := c.formOf(); form == bodyIsJSON && !maybe && !isStrictJSON(c.body) {
		return errInvalidRequest
	}
	return nil
}
