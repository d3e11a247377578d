// The pod launcher is a waiting Go replica in a pod: gateways dial it, one sends it the function's program, which it becomes.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"kubeserverless/frame"
	"kubeserverless/pod"
	"kubeserverless/waiting"
)

// What a program may have at most.
const maxProgramBytes = 64 << 20

func main() {
	facts, err := waiting.Start("this launcher")
	if err != nil {
		fatal(err)
	}
	version := strings.TrimPrefix(runtime.Version(), "go")
	hello := []byte(`{"protocol":1,"language":"go","version":"` + version + `","inFlight":0,"state":"generic"}`)
	pod.NewGeneric(facts, func() []byte { return hello }, func(peer *pod.Peer, first frame.Frame) {
		if err := becomeProgram(facts, peer, first); err != nil {
			fatal(err)
		}
	}).Listen()
}

func becomeProgram(facts pod.Facts, peer *pod.Peer, first frame.Frame) error {
	program, err := createProgram()
	if err != nil {
		return err
	}
	specialise, err := receiveProgram(program, peer, first)
	if err != nil {
		return err
	}
	specialisation, err := frame.ParseSpecialise(specialise)
	if err != nil {
		return err
	}
	connection, err := pod.Descriptor(peer.File())
	if err != nil {
		return err
	}
	for from, to := range map[int]int{connection: frame.PodDescriptor, facts.Listener: frame.ListenerDescriptor} {
		if err := syscall.Dup3(from, to, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	facts.Listener = frame.ListenerDescriptor
	passed, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	path := "/proc/self/fd/" + strconv.Itoa(program)
	startedAt := strconv.FormatInt(time.Now().UnixNano(), 10)
	arguments := []string{"/function/handler", string(specialisation.Meta), startedAt, string(passed)}
	err = syscall.Exec(path, arguments, frame.BuildEnvironment(specialisation.Environment))
	frame.SendFailed(frame.PodDescriptor, "LoadError", err.Error())
	return err
}

// receiveProgram writes what ARTIFACT brings, and returns the frame behind it, SPECIALISE.
func receiveProgram(program int, peer *pod.Peer, f frame.Frame) (frame.Frame, error) {
	for written := 0; f.Kind == frame.Artifact; {
		written += len(f.Body)
		if written > maxProgramBytes {
			return f, fmt.Errorf("a program of more than %d bytes", maxProgramBytes)
		}
		for rest := f.Body; len(rest) > 0; {
			n, err := syscall.Write(program, rest)
			if err != nil {
				return f, os.NewSyscallError("write", err)
			}
			rest = rest[n:]
		}
		var err error
		if f, err = peer.Read(); err != nil {
			return f, err
		}
	}
	if f.Kind != frame.Specialise {
		return f, frame.ErrBroken
	}
	return f, nil
}

var memfdCreate = map[string]uintptr{"amd64": 319, "arm64": 279}

const memfdCloseOnExec = 1

// createProgram makes a file in memory: /tmp is the function's, and not to be found used.
func createProgram() (int, error) {
	name, err := syscall.BytePtrFromString("handler")
	if err != nil {
		return 0, err
	}
	fd, _, errno := syscall.Syscall(memfdCreate[runtime.GOARCH], uintptr(unsafe.Pointer(name)), memfdCloseOnExec, 0)
	if errno != 0 {
		return 0, os.NewSyscallError("memfd_create", errno)
	}
	return int(fd), nil
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "launcher:", err)
	os.Exit(1)
}
