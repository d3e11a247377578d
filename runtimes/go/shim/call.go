package shim

import (
	"context"
	"errors"
	"sync"
	"time"

	"kubeserverless/frame"
)

var errCallerGone = errors.New("the caller went away")

// call is one CALL, from its first frame to its last.
type call struct {
	connection *connection
	stream     uint32
	rawMeta    []byte
	body       []byte
	// Owned by the goroutine that reads frames, until run starts.
	running    bool
	uncredited int

	meta     callMeta
	began    time.Time
	headSent bool
	ended    bool

	lock      sync.Mutex
	changed   sync.Cond
	credit    int
	cancelled bool
	onCancel  []func()
}

func newCall(connection *connection, f frame.Frame) *call {
	// The frame lies in the read buffer, which is used again.
	bytes := append(append(make([]byte, 0, len(f.Meta)+len(f.Body)), f.Meta...), f.Body...)
	c := &call{
		connection: connection,
		stream:     f.Stream,
		rawMeta:    bytes[:len(f.Meta):len(f.Meta)],
		body:       bytes[len(f.Meta):],
		running:    !f.More,
		credit:     frame.Window,
	}
	c.changed.L = &c.lock
	return c
}

// addData is false when the gateway sends more than a call may have.
func (c *call) addData(piece []byte, more bool) bool {
	if c.running || len(c.body)+len(piece) > maxRequestBytes {
		return false
	}
	c.body = append(c.body, piece...)
	c.running = !more
	c.uncredited += len(piece)
	if more && c.uncredited >= creditBytes {
		c.connection.sendCredit(c.stream, c.uncredited)
		c.uncredited = 0
	}
	return true
}

func (c *call) addCredit(bytes int) {
	c.lock.Lock()
	c.credit += bytes
	c.lock.Unlock()
	c.changed.Broadcast()
}

func (c *call) cancel() {
	if !c.running {
		// The rest of its body won't come.
		c.running = true
		c.fail(describeError(errCallerGone))
		return
	}
	c.lock.Lock()
	c.cancelled = true
	hooks := c.onCancel
	c.onCancel = nil
	c.lock.Unlock()
	c.changed.Broadcast()
	for _, hook := range hooks {
		hook()
	}
}

// whenCancelled calls hook once the caller is gone, at once if it is already.
func (c *call) whenCancelled(hook func()) {
	c.lock.Lock()
	cancelled := c.cancelled
	if !cancelled {
		c.onCancel = append(c.onCancel, hook)
	}
	c.lock.Unlock()
	if cancelled {
		hook()
	}
}

func (c *call) isCancelled() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.cancelled
}

// run handles the call whose body is whole.
func (c *call) run() {
	answered := false
	defer func() {
		if !answered {
			c.fail(describePanic(recover()))
		}
	}()
	if !c.meta.parse(c.rawMeta) {
		c.connection.replica.broken(c.connection, frame.ErrBroken)
		c.fail(describeError(frame.ErrBroken))
	} else if c.isCancelled() {
		c.fail(describeError(context.Canceled))
	} else {
		c.connection.replica.enter(c)
		c.handle()
	}
	answered = true
}

func (c *call) handle() {
	target := c.connection.replica.target
	if target.serveHTTP != nil {
		c.began = time.Now()
		target.serveHTTP(&Exchange{call: c})
		return
	}
	event, err := target.readEvent(c)
	if err != nil {
		c.fail(describeError(err))
		return
	}
	c.began = time.Now()
	ctx := context.Context(nil)
	if target.takesContext {
		var release context.CancelFunc
		ctx, release = c.newContext()
		defer release()
	}
	result, err := target.call(ctx, event)
	if err != nil {
		c.fail(describeError(err))
		return
	}
	if err := c.respond(result); err != nil {
		c.fail(describeError(err))
	}
}

// printLines sends lines as the call's own.
func (c *call) printLines(stream, lines string, truncated bool) {
	echo(stream, c.meta.id, lines, truncated)
	c.connection.writer.sendPatiently(logFrame(c.stream, stream, c.meta.id, lines, truncated))
}

// durationMs is the handler's own time so far.
func (c *call) durationMs() float64 {
	if c.began.IsZero() {
		return 0
	}
	return float64(time.Since(c.began)) / float64(time.Millisecond)
}

// fail ends the call with what went wrong, whatever has been sent of it.
func (c *call) fail(f failure) {
	if c.headSent {
		c.finish(frame.Frame{Stream: c.stream, Kind: frame.Abort, Meta: f.abortMeta()})
		return
	}
	c.finish(frame.Frame{Stream: c.stream, Kind: frame.Error, Meta: f.errorMeta(c.durationMs())})
}

// finish sends the last frame; what goes wrong after it concerns nobody.
func (c *call) finish(f frame.Frame) {
	if !c.ended {
		c.ended = true
		c.connection.replica.exit(c)
		c.connection.replica.finish(c.connection, f)
	}
}
