package shim

import (
	"errors"
	"io"
	"strconv"
	"sync"

	"kubeserverless/frame"
)

const (
	streamPieceBytes = 32 << 10
	// A longer body has to be streamed.
	maxResponseBytes = 6 << 20
)

// Below frame.MaxMeta, for what stands beside the headers.
const maxHeadersBytes = 60_000

var errHeadersTooLarge = errors.New("the response's headers are too large: 60000 bytes at most")

var streamPieces = sync.Pool{New: func() any { return new([streamPieceBytes]byte) }}

// bodyKind tells the gateway how a body stands in an envelope.
type bodyKind string

const (
	bodyJSON   bodyKind = "json"
	bodyText   bodyKind = "text"
	bodyBinary bodyKind = "binary"
	bodyNone   bodyKind = "none"
)

// head is what a response begins with; headers are names and values in turn.
type head struct {
	status  int
	kind    bodyKind
	headers []string
}

func (h *head) meta(durationMs float64) ([]byte, error) {
	meta := append([]byte(`{"kind":"`), h.kind...)
	meta = append(meta, '"')
	if len(h.headers) > 0 {
		meta = append(meta, `,"headers":[`...)
		for i, text := range h.headers {
			if i > 0 {
				meta = append(meta, ',')
			}
			meta = appendString(meta, text)
		}
		meta = append(meta, ']')
	}
	if len(meta) > maxHeadersBytes {
		return nil, errHeadersTooLarge
	}
	meta = append(meta, `,"durationMs":`...)
	return append(strconv.AppendFloat(meta, durationMs, 'f', 3, 64), '}'), nil
}

// sendWhole sends a response whose body is there, in pieces where it is large.
func (c *call) sendWhole(h head, body []byte) error {
	if len(body) > maxResponseBytes {
		return responseTooLarge(len(body))
	}
	first, rest := cut(body, frame.MaxBody)
	if err := c.sendHead(h, first, len(rest) > 0); err != nil || len(rest) == 0 {
		return err
	}
	c.sendData(rest, false)
	return nil
}

func (c *call) sendHead(h head, first []byte, more bool) error {
	meta, err := h.meta(c.durationMs())
	if err != nil {
		return err
	}
	f := frame.Frame{Stream: c.stream, Kind: uint16(h.status), More: more, Meta: meta, Body: first}
	c.headSent = true
	if more {
		c.connection.writer.send(f)
	} else {
		c.finish(f)
	}
	return nil
}

// sendData sends bytes of any length, waiting for credit. It is false when the caller is gone; the call is ended then.
func (c *call) sendData(bytes []byte, more bool) bool {
	for {
		allowed, ok := c.takeCredit(len(bytes))
		if !ok {
			c.fail(describeError(errCallerGone))
			return false
		}
		piece, rest := cut(bytes, allowed)
		f := frame.Frame{Stream: c.stream, Kind: frame.Data, More: more || len(rest) > 0, Body: piece}
		if !f.More {
			c.finish(f)
			return true
		}
		c.connection.writer.send(f)
		if len(rest) == 0 {
			return true
		}
		bytes = rest
	}
}

// takeCredit waits until something may be sent.
func (c *call) takeCredit(wanted int) (allowed int, ok bool) {
	if wanted > frame.MaxBody {
		wanted = frame.MaxBody
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	for wanted > 0 && c.credit <= 0 && !c.cancelled {
		c.changed.Wait()
	}
	if c.cancelled {
		return 0, false
	}
	if wanted > c.credit {
		wanted = c.credit
	}
	c.credit -= wanted
	return wanted, true
}

// sendStream sends what reader gives until its end, its head with the first piece.
func (c *call) sendStream(h head, reader io.Reader) error {
	if closer, ok := reader.(io.Closer); ok {
		defer closer.Close()
	}
	if pipe, ok := reader.(*io.PipeReader); ok {
		// Its writer may never write again; other readers can't be closed while they are read.
		c.whenCancelled(func() { _ = pipe.CloseWithError(errCallerGone) })
	}
	buffer := streamPieces.Get().(*[streamPieceBytes]byte)
	defer streamPieces.Put(buffer)
	for {
		n, err := reader.Read(buffer[:])
		ended := err == io.EOF
		if err != nil && !ended {
			c.failStream(err, buffer[:n])
			return nil
		}
		if n == 0 && !ended {
			continue
		}
		if !c.headSent {
			if err := c.sendHead(h, buffer[:n], !ended); err != nil {
				return err
			}
		} else if !c.sendData(buffer[:n], !ended) {
			return nil
		}
		if ended {
			return nil
		}
	}
}

// failStream sends what was read with the error, if a response has begun.
func (c *call) failStream(err error, last []byte) {
	if c.isCancelled() {
		err = errCallerGone
	}
	if c.headSent && len(last) > 0 && !c.sendData(last, true) {
		return
	}
	c.fail(describeError(err))
}

func cut(bytes []byte, size int) (first, rest []byte) {
	if len(bytes) <= size {
		return bytes, nil
	}
	return bytes[:size], bytes[size:]
}
