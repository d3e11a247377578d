package shim

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// members is an object whose order is kept.
type members []member

type member struct {
	name  string
	value any
}

// toPlain turns any value into maps, lists and numbers that appendJSON writes itself, by encoding/json's rules:
// needed where a number within a struct is not finite, which encoding/json refuses.
func toPlain(v reflect.Value, depth int) (any, error) {
	if !v.IsValid() {
		return nil, nil
	}
	if depth > maxWriteDepth {
		return nil, errCycle
	}
	if text, ok, err := marshalItself(v); ok {
		return text, err
	}
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		return v.Float(), nil
	case reflect.Interface, reflect.Pointer:
		return toPlain(v.Elem(), depth+1)
	case reflect.Struct:
		return structToPlain(v, depth)
	case reflect.Map:
		return mapToPlain(v, depth)
	case reflect.Slice:
		if v.IsNil() {
			return nil, nil
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return base64.StdEncoding.EncodeToString(v.Bytes()), nil
		}
		return listToPlain(v, depth)
	case reflect.Array:
		return listToPlain(v, depth)
	}
	return v.Interface(), nil
}

func marshalItself(v reflect.Value) (any, bool, error) {
	if v.Kind() == reflect.Interface || (v.Kind() == reflect.Pointer && v.IsNil()) {
		return nil, false, nil
	}
	switch v.Interface().(type) {
	case json.Marshaler, encoding.TextMarshaler:
		text, err := json.Marshal(v.Interface())
		return json.RawMessage(text), true, err
	}
	return nil, false, nil
}

func structToPlain(v reflect.Value, depth int) (any, error) {
	object := members{}
	for _, f := range fieldsOf(v.Type()) {
		value, ok := f.of(v)
		if !ok {
			continue
		}
		plain, err := toPlain(value, depth+1)
		if err != nil {
			return nil, err
		}
		if f.quoted {
			plain = fmt.Sprint(plain)
		}
		object = append(object, member{f.name, plain})
	}
	return object, nil
}

func mapToPlain(v reflect.Value, depth int) (any, error) {
	if v.IsNil() {
		return nil, nil
	}
	object := make(map[string]any, v.Len())
	for entries := v.MapRange(); entries.Next(); {
		name := fmt.Sprint(entries.Key().Interface())
		if marshaler, ok := entries.Key().Interface().(encoding.TextMarshaler); ok {
			text, err := marshaler.MarshalText()
			if err != nil {
				return nil, err
			}
			name = string(text)
		}
		plain, err := toPlain(entries.Value(), depth+1)
		if err != nil {
			return nil, err
		}
		object[name] = plain
	}
	return object, nil
}

func listToPlain(v reflect.Value, depth int) (any, error) {
	list := make([]any, v.Len())
	for i := range list {
		plain, err := toPlain(v.Index(i), depth+1)
		if err != nil {
			return nil, err
		}
		list[i] = plain
	}
	return list, nil
}

// field is a member of a struct as JSON sees it.
type field struct {
	name      string
	index     []int
	omitEmpty bool
	quoted    bool
}

// of is false where JSON leaves the field out.
func (f *field) of(v reflect.Value) (reflect.Value, bool) {
	value, err := v.FieldByIndexErr(f.index)
	if err != nil || (f.omitEmpty && isEmpty(value)) {
		return reflect.Value{}, false
	}
	return value, true
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

var fieldsByType sync.Map

func fieldsOf(t reflect.Type) []field {
	if known, ok := fieldsByType.Load(t); ok {
		return known.([]field)
	}
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || (name == "-" && options == "") || (f.Anonymous && name == "") {
			continue
		}
		if name == "" {
			name = f.Name
		}
		options = "," + options + ","
		fields = append(fields, field{
			name:      name,
			index:     f.Index,
			omitEmpty: strings.Contains(options, ",omitempty,"),
			quoted:    strings.Contains(options, ",string,"),
		})
	}
	fieldsByType.Store(t, fields)
	return fields
}

// memberOf finds a member of a map or struct by its JSON name.
func memberOf(v reflect.Value, name string) (any, bool) {
	switch v.Kind() {
	case reflect.Map:
		value := v.MapIndex(reflect.ValueOf(name).Convert(v.Type().Key()))
		if value.IsValid() {
			return value.Interface(), true
		}
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			if f.name == name {
				if value, ok := f.of(v); ok {
					return value.Interface(), true
				}
				return nil, false
			}
		}
	}
	return nil, false
}
