package pod

import (
	"bytes"
	"os"
	"sync"
	"syscall"

	"kubeserverless/shim"
)

// A line that is longer is printed in pieces.
const maxPending = 1 << 20

// follower reads what was printed into a pipe: as it comes, and at once when somebody wants to know.
type follower struct {
	replica *shim.InPod
	stream  string
	file    *os.File
	raw     syscall.RawConn

	lock    sync.Mutex
	buffer  []byte
	pending []byte
}

func newFollower(replica *shim.InPod, stream string, file *os.File) *follower {
	if file == nil {
		return nil
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil
	}
	return &follower{replica: replica, stream: stream, file: file, raw: raw, buffer: make([]byte, 32<<10)}
}

// follow ends with the pipe.
func (f *follower) follow() { _ = f.raw.Read(f.read) }

// drain waits for nothing. Control, as follow holds what Read wants.
func (f *follower) drain() { _ = f.raw.Control(func(fd uintptr) { f.read(fd) }) }

// read takes all that is there; true at the end of the pipe. Lines that come together are printed together.
func (f *follower) read(fd uintptr) bool {
	f.lock.Lock()
	defer f.lock.Unlock()
	for {
		n, err := syscall.Read(int(fd), f.buffer)
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EAGAIN {
			return false
		}
		if n <= 0 {
			f.print(len(f.pending))
			return true
		}
		f.pending = append(f.pending, f.buffer[:n]...)
		if end := bytes.LastIndexByte(f.pending, '\n'); end >= 0 {
			f.print(end + 1)
		} else if len(f.pending) > maxPending {
			f.print(len(f.pending))
		}
	}
}

func (f *follower) print(end int) {
	if end > 0 {
		f.replica.Print(f.stream, string(f.pending[:end]))
		f.pending = append(f.pending[:0], f.pending[end:]...)
	}
}
