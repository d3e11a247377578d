package shim

import (
	"errors"
	"fmt"
	"reflect"
	"sort"
)

var errCookies = errors.New("cookies must be a list of strings")

// headersOf collects what a response says about its headers: names and values in turn.
func headersOf(response reflect.Value, given any) ([]string, error) {
	headers, err := appendHeaders(nil, "headers", given)
	if err != nil {
		return nil, err
	}
	multiValue, _ := memberOf(response, "multiValueHeaders")
	if headers, err = appendHeaders(headers, "multiValueHeaders", multiValue); err != nil {
		return nil, err
	}
	cookies, _ := memberOf(response, "cookies")
	return appendCookies(headers, cookies)
}

// appendHeaders takes any map or struct; a map's names are sorted, as it has no order.
func appendHeaders(headers []string, field string, given any) ([]string, error) {
	v := pointedTo(given)
	var err error
	switch {
	case isNil(given):
	case v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String:
		names := v.MapKeys()
		sort.Slice(names, func(i, j int) bool { return names[i].String() < names[j].String() })
		for _, name := range names {
			if headers, err = appendHeader(headers, name.String(), v.MapIndex(name).Interface()); err != nil {
				return nil, err
			}
		}
	case v.Kind() == reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			value, ok := f.of(v)
			if !ok {
				continue
			}
			if headers, err = appendHeader(headers, f.name, value.Interface()); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("%s must be an object, got %s", field, showValue(given))
	}
	return headers, nil
}

// appendHeader adds one header for each value; what is null is left out.
func appendHeader(headers []string, name string, value any) ([]string, error) {
	v := pointedTo(value)
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return appendHeaderValue(headers, name, value)
	}
	var err error
	for i := 0; i < v.Len(); i++ {
		if headers, err = appendHeaderValue(headers, name, v.Index(i).Interface()); err != nil {
			return nil, err
		}
	}
	return headers, nil
}

func appendHeaderValue(headers []string, name string, value any) ([]string, error) {
	if isNil(value) {
		return headers, nil
	}
	if text, ok := stringOf(value); ok {
		return append(headers, name, text), nil
	}
	switch pointedTo(value).Kind() {
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Struct, reflect.Func, reflect.Chan:
		return nil, fmt.Errorf("header %s must be a string, a number, a boolean or a list of them, got %s", name, showValue(value))
	}
	return append(headers, name, showValue(value)), nil
}

func appendCookies(headers []string, cookies any) ([]string, error) {
	if isNil(cookies) {
		return headers, nil
	}
	v := pointedTo(cookies)
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return nil, errCookies
	}
	for i := 0; i < v.Len(); i++ {
		text, ok := stringOf(v.Index(i).Interface())
		if !ok {
			return nil, errCookies
		}
		headers = append(headers, "set-cookie", text)
	}
	return headers, nil
}

func pointedTo(value any) reflect.Value {
	v := reflect.ValueOf(value)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	return v
}
