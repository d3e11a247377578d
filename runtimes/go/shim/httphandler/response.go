package httphandler

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"kubeserverless/shim"
)

// More than this is streamed, whether the handler flushes or not.
const maxBufferedBytes = 256 << 10

var errCallerGone = errors.New("the caller went away")

// response collects what a handler writes, and streams it from the first Flush on.
type response struct {
	exchange *shim.Exchange
	header   http.Header
	status   int
	// The headers as they stood at WriteHeader.
	sent     http.Header
	buffer   []byte
	streamed bool
	ended    bool
}

func newResponse(exchange *shim.Exchange) *response {
	return &response{exchange: exchange, header: make(http.Header)}
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	// Informational answers can't be carried; the first other one counts.
	if w.status != 0 || (status >= 100 && status < 200) {
		return
	}
	w.status = status
	w.sent = w.header.Clone()
}

func (w *response) Write(bytes []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.ended {
		return 0, errCallerGone
	}
	if !w.allowsBody() {
		return 0, http.ErrBodyNotAllowed
	}
	w.buffer = append(w.buffer, bytes...)
	if len(w.buffer) > maxBufferedBytes {
		if err := w.FlushError(); err != nil {
			return 0, err
		}
	}
	return len(bytes), nil
}

func (w *response) WriteString(text string) (int, error) { return w.Write([]byte(text)) }

// Flush sends what was written so far.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls.
func (w *response) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return w.send(true)
}

func (w *response) end() {
	w.WriteHeader(http.StatusOK)
	_ = w.send(false)
}

func (w *response) send(more bool) error {
	if w.ended {
		return errCallerGone
	}
	bytes := w.buffer
	w.buffer = nil
	if w.streamed {
		if !w.exchange.Continue(bytes, more) {
			w.ended = true
			return errCallerGone
		}
		return nil
	}
	if w.status < 200 || w.status > 599 {
		w.ended = true
		err := fmt.Errorf("statusCode must be an integer from 200 to 599, got %d", w.status)
		w.exchange.Fail(err)
		return err
	}
	return w.begin(bytes, more)
}

func (w *response) begin(bytes []byte, more bool) error {
	kind := w.kindOf(bytes, more)
	const pieceBytes = 1 << 16
	first := bytes
	if more && len(first) > pieceBytes {
		first = first[:pieceBytes]
	}
	if err := w.exchange.Begin(w.status, kind, flatten(w.sent), first, more); err != nil {
		w.ended = true
		w.exchange.Fail(err)
		return err
	}
	w.streamed = true
	if rest := bytes[len(first):]; len(rest) > 0 && !w.exchange.Continue(rest, more) {
		w.ended = true
		return errCallerGone
	}
	return nil
}

// kindOf tells how the body stands in an envelope, and sets the content type as net/http does where there is none.
func (w *response) kindOf(bytes []byte, more bool) string {
	if len(bytes) == 0 && !more {
		return "none"
	}
	if w.sent.Get("Content-Type") == "" && len(bytes) > 0 && w.allowsBody() {
		w.sent.Set("Content-Type", http.DetectContentType(bytes))
	}
	mediaType, _, _ := strings.Cut(strings.ToLower(w.sent.Get("Content-Type")), ";")
	mediaType = strings.TrimSpace(mediaType)
	isJSON := mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
	switch {
	case isJSON && !more && json.Valid(bytes) && utf8.Valid(bytes):
		return "json"
	case (isJSON || strings.HasPrefix(mediaType, "text/")) && utf8.Valid(bytes):
		return "text"
	}
	return "binary"
}

func (w *response) allowsBody() bool {
	return w.status != http.StatusNoContent && w.status != http.StatusNotModified
}
