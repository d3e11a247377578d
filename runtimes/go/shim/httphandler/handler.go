// Package httphandler lets functions be http.Handlers.
package httphandler

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"sort"
	"strings"

	"kubeserverless/shim"
)

func init() {
	shim.AdaptHTTP(adapt)
}

var handlerFunc = reflect.TypeOf(http.HandlerFunc(nil))

// adapt is nil for what isn't an http.Handler.
func adapt(handler any) func(*shim.Exchange) {
	v := reflect.ValueOf(handler)
	if v.Kind() == reflect.Func && !v.IsNil() && v.CanConvert(handlerFunc) {
		return serve(v.Convert(handlerFunc).Interface().(http.HandlerFunc))
	}
	if h, ok := handler.(http.Handler); ok {
		return serve(h)
	}
	return nil
}

func serve(handler http.Handler) func(*shim.Exchange) {
	return func(exchange *shim.Exchange) {
		ctx, release := exchange.Context()
		defer release()
		w := newResponse(exchange)
		handler.ServeHTTP(w, newRequest(exchange).WithContext(ctx))
		w.end()
	}
}

func newRequest(exchange *shim.Exchange) *http.Request {
	body := exchange.Body()
	r := &http.Request{
		Method:        exchange.Method(),
		URL:           newURL(exchange),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        newHeader(exchange.Headers()),
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}
	r.Host = r.Header.Get("Host")
	r.Header.Del("Host")
	r.RequestURI = r.URL.RequestURI()
	if caller, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ","); caller != "" {
		// The port isn't known, but who reads this expects one.
		r.RemoteAddr = net.JoinHostPort(strings.TrimSpace(caller), "0")
	}
	// Requests know path values since Go 1.22.
	if p, ok := any(r).(interface{ SetPathValue(name, value string) }); ok {
		for name, value := range exchange.Params() {
			p.SetPathValue(name, fmt.Sprint(value))
		}
	}
	return r
}

func newURL(exchange *shim.Exchange) *url.URL {
	query := url.Values{}
	for name, value := range exchange.Query() {
		if list, ok := value.([]any); ok {
			for _, item := range list {
				query.Add(name, fmt.Sprint(item))
			}
		} else {
			query.Add(name, fmt.Sprint(value))
		}
	}
	raw := exchange.Path()
	path, err := url.PathUnescape(raw)
	if err != nil {
		path = raw
	}
	return &url.URL{Path: path, RawPath: raw, RawQuery: query.Encode()}
}

func newHeader(headers map[string]any) http.Header {
	header := make(http.Header, len(headers))
	for name, value := range headers {
		header.Set(name, fmt.Sprint(value))
	}
	return header
}

func sortedNames(header http.Header) []string {
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func flatten(header http.Header) []string {
	var flat []string
	for _, name := range sortedNames(header) {
		for _, value := range header[name] {
			flat = append(flat, strings.ToLower(name), value)
		}
	}
	return flat
}
