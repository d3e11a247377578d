package shim

import (
	"encoding/binary"
	"os"
	"strconv"
	"sync"

	"kubeserverless/frame"
)

const (
	readBufferBytes = 32 << 10
	// The largest body that the protocol lets a call have.
	maxRequestBytes = 6<<20 + 64<<10
	// Credit is given in pieces of this size, or a frame for every DATA would answer it.
	creditBytes = 64 << 10
)

// connection reads the gateway's frames and keeps the calls that run.
type connection struct {
	file   *os.File
	writer *writer
	target *target

	lock  sync.Mutex
	calls map[uint32]*call
	// Calls whose last frame isn't queued for writing yet.
	unanswered int
	draining   bool
}

func newConnection(file *os.File, target *target) *connection {
	return &connection{file: file, writer: newWriter(file), target: target, calls: make(map[uint32]*call)}
}

// serve never returns: the end of the stream ends the process.
func (c *connection) serve() {
	buffer := make([]byte, readBufferBytes)
	filled := 0
	for {
		n, err := c.file.Read(buffer[filled:])
		if n == 0 && err != nil {
			os.Exit(0)
		}
		filled += n
		used, wanted := c.receiveAll(buffer[:filled])
		filled = copy(buffer, buffer[used:filled])
		if wanted > len(buffer) {
			buffer = append(make([]byte, 0, wanted), buffer[:filled]...)[:wanted]
		} else if filled == 0 && len(buffer) > readBufferBytes {
			buffer = make([]byte, readBufferBytes)
		}
	}
}

// receiveAll takes the whole frames of buffer, and tells how long the one is that isn't whole yet.
func (c *connection) receiveAll(buffer []byte) (used, wanted int) {
	for {
		f, size, err := frame.Parse(buffer[used:])
		if err != nil {
			fatal(err)
		}
		if size == 0 {
			break
		}
		c.receive(f)
		used += size
	}
	if rest := buffer[used:]; len(rest) >= frame.HeaderSize {
		wanted, _ = frame.Size(rest)
	}
	return used, wanted
}

func (c *connection) receive(f frame.Frame) {
	switch f.Kind {
	case frame.Call:
		c.receiveCall(f)
	case frame.Data:
		c.receiveData(f)
	case frame.Credit:
		if len(f.Body) != 4 {
			fatal(frame.ErrBroken)
		}
		if call := c.find(f.Stream); call != nil {
			call.addCredit(int(binary.BigEndian.Uint32(f.Body)))
		}
	case frame.Cancel:
		if call := c.find(f.Stream); call != nil {
			call.cancel()
		}
	case frame.Ping:
		c.lock.Lock()
		inFlight := len(c.calls)
		c.lock.Unlock()
		meta := append(strconv.AppendInt([]byte(`{"inFlight":`), int64(inFlight), 10), '}')
		c.writer.send(frame.Frame{Kind: frame.Pong, Meta: meta, Body: f.Body})
	case frame.Drain:
		c.lock.Lock()
		c.draining = true
		c.lock.Unlock()
		c.leaveWhenDrained()
	case frame.Specialise:
		fatal(frame.ErrBroken)
	}
}

func (c *connection) receiveCall(f frame.Frame) {
	c.lock.Lock()
	if c.draining || len(c.calls) >= specialised.concurrency {
		c.lock.Unlock()
		c.writer.send(frame.Frame{Stream: f.Stream, Kind: frame.Busy})
		return
	}
	call := newCall(c, f)
	c.calls[f.Stream] = call
	c.unanswered++
	c.lock.Unlock()
	if !f.More {
		go call.run()
	}
}

// DATA of a call that isn't there, refused as busy say, is passed over.
func (c *connection) receiveData(f frame.Frame) {
	call := c.find(f.Stream)
	if call == nil {
		return
	}
	if !call.addData(f.Body, f.More) {
		fatal(frame.ErrBroken)
	}
	if !f.More {
		go call.run()
	}
}

func (c *connection) sendCredit(stream uint32, bytes int) {
	var body [4]byte
	binary.BigEndian.PutUint32(body[:], uint32(bytes))
	c.writer.send(frame.Frame{Stream: stream, Kind: frame.Credit, Body: body[:]})
}

func (c *connection) find(stream uint32) *call {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.calls[stream]
}

// finish sends the last frame of a call. Its place is free before, as the gateway fills it at once.
func (c *connection) finish(f frame.Frame) {
	c.lock.Lock()
	delete(c.calls, f.Stream)
	c.lock.Unlock()
	c.writer.send(f)
	c.lock.Lock()
	c.unanswered--
	c.lock.Unlock()
	c.leaveWhenDrained()
}

func (c *connection) leaveWhenDrained() {
	c.lock.Lock()
	leave := c.draining && c.unanswered == 0
	c.lock.Unlock()
	if leave {
		c.writer.flush()
		os.Exit(0)
	}
}
