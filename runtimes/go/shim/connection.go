package shim

import (
	"encoding/binary"
	"os"
	"strconv"

	"kubeserverless/frame"
)

const (
	readBufferBytes = 32 << 10
	// The largest body that the protocol lets a call have.
	maxRequestBytes = 6<<20 + 64<<10
	// Credit is given in pieces of this size, or a frame for every DATA would answer it.
	creditBytes = 64 << 10
)

// connection reads one gateway's frames and keeps its calls. Standalone there is one, in a pod there may be several.
type connection struct {
	file    *os.File
	writer  *writer
	replica *replica
	// Guarded by the replica's lock.
	calls  map[uint32]*call
	closed bool
}

// serve returns when the stream has ended; standalone that ends the process.
func (c *connection) serve() {
	buffer := make([]byte, readBufferBytes)
	filled := 0
	for {
		n, err := c.file.Read(buffer[filled:])
		if n == 0 && err != nil {
			c.replica.lost(c)
			return
		}
		filled += n
		used, wanted, err := c.receiveAll(buffer[:filled])
		if err != nil {
			c.replica.broken(c, err)
			return
		}
		filled = copy(buffer, buffer[used:filled])
		if wanted > len(buffer) {
			buffer = append(make([]byte, 0, wanted), buffer[:filled]...)[:wanted]
		} else if filled == 0 && len(buffer) > readBufferBytes {
			buffer = make([]byte, readBufferBytes)
		}
	}
}

// receiveAll takes the whole frames of buffer, and tells how long the one is that isn't whole yet.
func (c *connection) receiveAll(buffer []byte) (used, wanted int, err error) {
	for {
		f, size, err := frame.Parse(buffer[used:])
		if err != nil {
			return used, 0, err
		}
		if size == 0 {
			break
		}
		if err := c.receive(f); err != nil {
			return used, 0, err
		}
		used += size
	}
	if rest := buffer[used:]; len(rest) >= frame.HeaderSize {
		wanted, _ = frame.Size(rest)
	}
	return used, wanted, nil
}

func (c *connection) receive(f frame.Frame) error {
	switch f.Kind {
	case frame.Call:
		c.receiveCall(f)
	case frame.Data:
		return c.receiveData(f)
	case frame.Credit:
		if len(f.Body) != 4 {
			return frame.ErrBroken
		}
		if call := c.find(f.Stream); call != nil {
			call.addCredit(int(binary.BigEndian.Uint32(f.Body)))
		}
	case frame.Cancel:
		if call := c.find(f.Stream); call != nil {
			call.cancel()
		}
	case frame.Ping:
		c.writer.send(frame.Frame{Kind: frame.Pong, Meta: c.replica.describeLoad(), Body: f.Body})
	case frame.Drain:
		c.replica.drain(c)
	case frame.Specialise, frame.Token, frame.Claim, frame.Build:
		return frame.ErrBroken
	}
	return nil
}

func (c *connection) receiveCall(f frame.Frame) {
	call := newCall(c, f)
	if !c.replica.begin(call) {
		c.writer.send(frame.Frame{Stream: f.Stream, Kind: frame.Busy})
		return
	}
	if !f.More {
		go call.run()
	}
}

// DATA of a call that isn't there, refused as busy say, is passed over.
func (c *connection) receiveData(f frame.Frame) error {
	call := c.find(f.Stream)
	if call == nil {
		return nil
	}
	if !call.addData(f.Body, f.More) {
		return frame.ErrBroken
	}
	if !f.More {
		go call.run()
	}
	return nil
}

func (c *connection) sendCredit(stream uint32, bytes int) {
	var body [4]byte
	binary.BigEndian.PutUint32(body[:], uint32(bytes))
	c.writer.send(frame.Frame{Stream: stream, Kind: frame.Credit, Body: body[:]})
}

func (c *connection) find(stream uint32) *call {
	c.replica.lock.Lock()
	defer c.replica.lock.Unlock()
	return c.calls[stream]
}

// cancelAll tells the calls that nobody waits for them any more.
func (c *connection) cancelAll() {
	c.replica.lock.Lock()
	calls := make([]*call, 0, len(c.calls))
	for _, call := range c.calls {
		calls = append(calls, call)
	}
	c.replica.lock.Unlock()
	for _, call := range calls {
		call.cancel()
	}
}

func describeLoad(inFlight int) []byte {
	return append(strconv.AppendInt([]byte(`{"inFlight":`), int64(inFlight), 10), '}')
}
