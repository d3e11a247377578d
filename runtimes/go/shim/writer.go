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

	lock    sync.Mutex
	written sync.Cond
	unsent  []byte
	spare   []byte
	writing bool
}

func newWriter(file *os.File) *writer {
	w := &writer{file: file}
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
	for len(w.unsent) > maxUnsentBytes {
		w.written.Wait()
	}
	w.append(f)
}

// append takes the lock over and releases it.
func (w *writer) append(f frame.Frame) {
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
	for len(w.unsent) > 0 {
		bytes := w.unsent
		w.unsent = w.spare[:0]
		w.spare = nil
		w.lock.Unlock()
		if _, err := w.file.Write(bytes); err != nil {
			// The gateway is gone.
			os.Exit(0)
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

// flush returns once everything is written.
func (w *writer) flush() {
	w.lock.Lock()
	for w.writing {
		w.written.Wait()
	}
	w.lock.Unlock()
}
