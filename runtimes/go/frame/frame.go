// Package frame encodes and decodes the frames of runtimes/PROTOCOL.md.
package frame

import (
	"encoding/binary"
	"errors"
)

// Types of frames. 200 to 599 are heads of responses.
const (
	Hello      = 1
	Specialise = 2
	Ready      = 3
	Failed     = 4
	Call       = 5
	Data       = 6
	Credit     = 7
	Cancel     = 8
	Abort      = 9
	Error      = 10
	Log        = 11
	Ping       = 12
	Pong       = 13
	Drain      = 14
	Busy       = 15
	// In pods alone, from here on.
	Challenge = 16
	Proof     = 17
	Token     = 18
	Claim     = 19
	Answer    = 20
	Taken     = 21
	Artifact  = 22
	Build     = 23
)

const (
	// HeaderSize is what comes before meta, the length field included.
	HeaderSize = 12
	// MaxLength bounds the length field.
	MaxLength = 4 << 20
	// MaxBody bounds a body, but that of SPECIALISE.
	MaxBody = 1 << 16
	// MaxMeta bounds meta.
	MaxMeta = 1<<16 - 1
	// Window is how much DATA a message may send before it gets credit.
	Window = 256 << 10
	// Descriptor is the connection that a replica inherits.
	Descriptor = 3
	// PodDescriptor and ListenerDescriptor are what a program inherits in a pod: numbers that nothing else has, as the
	// launcher's runtime and its accept hold low ones until the very end.
	PodDescriptor      = 98
	ListenerDescriptor = 99

	more = 0x8000
)

// ErrBroken says that the other side broke the protocol.
var ErrBroken = errors.New("a frame breaks the protocol")

// Frame is one frame; Meta and Body point into the buffer it was parsed from.
type Frame struct {
	Stream uint32
	Kind   uint16
	More   bool
	Meta   []byte
	Body   []byte
}

// Append encodes a frame behind dst. Meta and body must be within their bounds.
func Append(dst []byte, f Frame) []byte {
	var header [HeaderSize]byte
	kind := f.Kind
	if f.More {
		kind |= more
	}
	binary.BigEndian.PutUint32(header[0:], uint32(8+len(f.Meta)+len(f.Body)))
	binary.BigEndian.PutUint32(header[4:], f.Stream)
	binary.BigEndian.PutUint16(header[8:], kind)
	binary.BigEndian.PutUint16(header[10:], uint16(len(f.Meta)))
	dst = append(dst, header[:]...)
	dst = append(dst, f.Meta...)
	return append(dst, f.Body...)
}

// Size tells how long the frame is that begins with header, a whole one of HeaderSize bytes.
func Size(header []byte) (int, error) {
	length := int(binary.BigEndian.Uint32(header[0:]))
	kind := binary.BigEndian.Uint16(header[8:]) &^ more
	metaLength := int(binary.BigEndian.Uint16(header[10:]))
	body := length - 8 - metaLength
	if length > MaxLength || body < 0 || (body > MaxBody && kind != Specialise) || !isKind(kind) {
		return 0, ErrBroken
	}
	return 4 + length, nil
}

// Parse decodes the frame at the beginning of buffer; a size of 0 says that bytes are missing.
func Parse(buffer []byte) (f Frame, size int, err error) {
	if len(buffer) < HeaderSize {
		return f, 0, nil
	}
	size, err = Size(buffer)
	if err != nil || len(buffer) < size {
		return f, 0, err
	}
	kind := binary.BigEndian.Uint16(buffer[8:])
	bodyStart := HeaderSize + int(binary.BigEndian.Uint16(buffer[10:]))
	f = Frame{
		Stream: binary.BigEndian.Uint32(buffer[4:]),
		Kind:   kind &^ more,
		More:   kind&more != 0,
		Meta:   buffer[HeaderSize:bodyStart:bodyStart],
		Body:   buffer[bodyStart:size:size],
	}
	return f, size, nil
}

func isKind(kind uint16) bool {
	return (kind >= 1 && kind <= 99) || (kind >= 200 && kind <= 599)
}
