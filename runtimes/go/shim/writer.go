package shim

import (
	"os"
	"runtime"
	"sync"

	"kubeserverless/frame"
)

const (
	// What is printed waits while so much is unsent.
	maxUnsentBytes = 1 << 20
	// A larger buffer isn't kept for reuse.
	maxKeptBytes = 256 << 10
)

// writer gathers frames: whoever sends while nobody writes becomes the one that writes, for all that came meanwhile.
type writer struct {
	file *os.File
	// Called when nothing can be written any more.
	onBroken func()

	lock    sync.Mutex
	written sync.Cond
	unsent  []byte
	spare   []byte
	writing bool
	stopped bool
}

func newWriter(file *os.File, onBroken func()) *writer {
	w := &writer{file: file, onBroken: onBroken}
	w.written.L = &w.lock
	return w
}

func (w *writer) send(f frame.Frame) {
	w.lock.Lock()
	w.append(f)
}

// sendPatiently waits while the gateway is slow to read: for output that nothing else bounds.
func (w *writer) sendPatiently(f frame.Frame) {
	w.lock.Lock()
	for len(w.unsent) > maxUnsentBytes && !w.stopped {
		w.written.Wait()
	}
	w.append(f)
}

// append takes the lock over and releases it.
func (w *writer) append(f frame.Frame) {
	if w.stopped {
		w.lock.Unlock()
		return
	}
	w.unsent = frame.Append(w.unsent, f)
	mustWrite := !w.writing
	w.writing = true
	w.lock.Unlock()
	if mustWrite {
		// Calls that are about to end put their frames into the same write.
		runtime.Gosched()
		w.write()
	}
}

func (w *writer) write() {
	w.lock.Lock()
	for len(w.unsent) > 0 && !w.stopped {
		bytes := w.unsent
		w.unsent = w.spare[:0]
		w.spare = nil
		w.lock.Unlock()
		if _, err := w.file.Write(bytes); err != nil {
			// The gateway is gone.
			w.onBroken()
			w.stop()
			return
		}
		w.lock.Lock()
		if cap(bytes) <= maxKeptBytes {
			w.spare = bytes
		}
		w.written.Broadcast()
	}
	w.writing = false
	w.written.Broadcast()
	w.lock.Unlock()
}

// stop drops what is unsent, and whatever is sent later.
func (w *writer) stop() {
	w.lock.Lock()
	w.stopped = true
	w.writing = false
	w.unsent = nil
	w.written.Broadcast()
	w.lock.Unlock()
}

// flush returns once everything is written.
func (w *writer) flush() {
	w.lock.Lock()
	for w.writing {
		w.written.Wait()
	}
	w.lock.Unlock()
}
