package shim

import (
	"os"
	"sync"
	"time"

	"kubeserverless/frame"
)

// A gateway that does not answer DRAIN for so long sends no calls either.
const leaveTimeout = time.Second

// replica is what all connections share: how much runs, and when it ends.
type replica struct {
	target *target
	// inPod: connections come and go; standalone the one connection's end is the process's.
	inPod bool

	lock        sync.Mutex
	connections []*connection
	inFlight    int
	// In a pod: calls whose handlers run.
	running map[*call]bool
	// Calls whose last frame isn't queued for writing yet.
	unanswered int
	draining   bool
	// Gateways that may still send calls, while the replica takes its leave.
	unaware map[*connection]bool
}

func newReplica(target *target) *replica {
	return &replica{target: target}
}

// attach serves one more gateway; what no call prints goes to the newest.
func (r *replica) attach(file *os.File) *connection {
	c := &connection{file: file, replica: r, calls: make(map[uint32]*call)}
	c.writer = newWriter(file, func() { r.cannotWrite(c) })
	r.lock.Lock()
	r.connections = append(r.connections, c)
	r.lock.Unlock()
	return c
}

func (r *replica) newest() *connection {
	r.lock.Lock()
	defer r.lock.Unlock()
	if len(r.connections) == 0 {
		return nil
	}
	return r.connections[len(r.connections)-1]
}

// begin takes a place for the call; false at the concurrency, and when the replica is to end.
func (r *replica) begin(call *call) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.draining || r.inFlight >= specialised.concurrency {
		return false
	}
	r.inFlight++
	r.unanswered++
	call.connection.calls[call.stream] = call
	return true
}

// enter: the handler of the call begins.
func (r *replica) enter(c *call) {
	if !r.inPod {
		return
	}
	r.lock.Lock()
	if r.running == nil {
		r.running = make(map[*call]bool)
	}
	r.running[c] = true
	r.lock.Unlock()
}

// exit: what the handler has printed is read first, while it is known whose it is.
func (r *replica) exit(c *call) {
	if !r.inPod {
		return
	}
	if Drain != nil {
		Drain()
	}
	r.lock.Lock()
	delete(r.running, c)
	r.lock.Unlock()
}

// soleCall is the only one whose handler runs, or nil.
func (r *replica) soleCall() *call {
	r.lock.Lock()
	defer r.lock.Unlock()
	if len(r.running) == 1 {
		for c := range r.running {
			return c
		}
	}
	return nil
}

// finish sends the last frame of a call. Its place is free before, as the gateway fills it at once.
func (r *replica) finish(c *connection, f frame.Frame) {
	r.lock.Lock()
	delete(c.calls, f.Stream)
	r.inFlight--
	r.lock.Unlock()
	c.writer.send(f)
	r.lock.Lock()
	r.unanswered--
	r.lock.Unlock()
	r.leaveWhenDrained()
}

func (r *replica) describeLoad() []byte {
	r.lock.Lock()
	inFlight := r.inFlight
	r.lock.Unlock()
	if DescribeLoad != nil {
		return DescribeLoad(inFlight)
	}
	return describeLoad(inFlight)
}

// lost: the gateway is gone.
func (r *replica) lost(c *connection) {
	if !r.inPod {
		os.Exit(0)
	}
	r.detach(c)
}

func (r *replica) broken(c *connection, err error) {
	if !r.inPod {
		fatal(err)
	}
	r.detach(c)
}

func (r *replica) cannotWrite(c *connection) {
	if !r.inPod {
		os.Exit(0)
	}
	// Whoever reads sees the end, and detaches.
	_ = c.file.Close()
}

func (r *replica) detach(c *connection) {
	r.lock.Lock()
	c.closed = true
	for i, each := range r.connections {
		if each == c {
			r.connections = append(r.connections[:i:i], r.connections[i+1:]...)
			break
		}
	}
	delete(r.unaware, c)
	r.lock.Unlock()
	_ = c.file.Close()
	c.writer.stop()
	c.cancelAll()
	r.leaveWhenDrained()
}

// drain: a gateway said DRAIN, of its own, or as it has heard that this replica leaves.
func (r *replica) drain(c *connection) {
	r.lock.Lock()
	delete(r.unaware, c)
	r.draining = true
	r.lock.Unlock()
	r.leaveWhenDrained()
}

// leave tells every gateway that the pod is to end, so that no call gets lost, and ends when it is idle.
func (r *replica) leave() {
	r.lock.Lock()
	if r.draining {
		r.lock.Unlock()
		return
	}
	r.draining = true
	r.unaware = make(map[*connection]bool)
	told := append([]*connection(nil), r.connections...)
	for _, c := range told {
		r.unaware[c] = true
	}
	r.lock.Unlock()
	for _, c := range told {
		c.writer.send(frame.Frame{Kind: frame.Drain})
	}
	time.AfterFunc(leaveTimeout, func() {
		r.lock.Lock()
		r.unaware = nil
		r.lock.Unlock()
		r.leaveWhenDrained()
	})
	r.leaveWhenDrained()
}

func (r *replica) leaveWhenDrained() {
	r.lock.Lock()
	leave := r.draining && r.unanswered == 0 && len(r.unaware) == 0
	all := append([]*connection(nil), r.connections...)
	r.lock.Unlock()
	if !leave {
		return
	}
	for _, c := range all {
		c.writer.flush()
	}
	os.Exit(0)
}
