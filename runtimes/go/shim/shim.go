// Package shim is compiled into every Go function and speaks runtimes/PROTOCOL.md for it.
package shim

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"kubeserverless/frame"
)

// specialisation is what SPECIALISE says about the function.
type specialisation struct {
	function    string
	uid         string
	revision    int64
	handler     string
	concurrency int
	memoryMiB   int64
	startedAt   time.Time
}

var (
	specialised specialisation
	registered  any
	// The connection that the program inherits.
	descriptor = frame.Descriptor
)

// Specialise finds out which function this process is, and gives it its environment; before anything of the function runs.
func Specialise() {
	meta, startedAt := takeArguments()
	if meta == nil {
		meta, startedAt = specialiseHere(), time.Now()
	}
	specialised = parseSpecialisation(meta)
	specialised.startedAt = startedAt
	// A program that the function starts must not inherit the connection.
	syscall.CloseOnExec(descriptor)
	if _, chosen := os.LookupEnv("GOMEMLIMIT"); !chosen && specialised.memoryMiB > 0 {
		// Collect harder near the limit instead of being killed at it.
		debug.SetMemoryLimit(specialised.memoryMiB << 20 / 10 * 9)
	}
}

// Register names the handler.
func Register(handler any) {
	registered = handler
}

// Run serves calls until the replica ends.
func Run() {
	target, err := newTarget(registered, specialised.handler)
	if err != nil {
		frame.SendFailed(descriptor, "UnsupportedHandler", err.Error())
		os.Exit(1)
	}
	if err := syscall.SetNonblock(descriptor, true); err != nil {
		fatal(err)
	}
	r := newReplica(target)
	r.inPod = podArgument != ""
	c := r.attach(os.NewFile(uintptr(descriptor), "frames"))
	if r.inPod {
		StartInPod(&InPod{r}, podArgument)
	} else {
		awaitPrinted()
	}
	loadMs := float64(time.Since(specialised.startedAt)) / float64(time.Millisecond)
	c.writer.send(frame.Frame{Kind: frame.Ready, Meta: append(strconv.AppendFloat([]byte(`{"loadMs":`), loadMs, 'f', 3, 64), '}')})
	c.serve()
	// In a pod other gateways may come.
	select {}
}

// takeArguments reads and hides what the launcher passed on.
func takeArguments() ([]byte, time.Time) {
	if len(os.Args) != 3 && len(os.Args) != 4 {
		return nil, time.Time{}
	}
	meta, startedAt := []byte(os.Args[1]), os.Args[2]
	if len(os.Args) == 4 {
		podArgument = os.Args[3]
		descriptor = frame.PodDescriptor
	}
	os.Args = os.Args[:1]
	nanoseconds, err := strconv.ParseInt(startedAt, 10, 64)
	if err != nil {
		fatal(err)
	}
	return meta, time.Unix(0, nanoseconds)
}

// specialiseHere serves a replica that was started without a launcher.
func specialiseHere() []byte {
	s, err := frame.WaitForSpecialise(frame.Descriptor)
	if frame.IsEnd(err) {
		os.Exit(0)
	}
	if err != nil {
		fatal(err)
	}
	environment := frame.BuildEnvironment(s.Environment)
	os.Clearenv()
	for _, entry := range environment {
		for i := range entry {
			if entry[i] == '=' {
				_ = os.Setenv(entry[:i], entry[i+1:])
				break
			}
		}
	}
	return s.Meta
}

func parseSpecialisation(meta []byte) specialisation {
	s := specialisation{concurrency: 1}
	whole := eachMember(meta, func(name string, raw []byte) {
		value, _ := parseJSON(raw)
		switch text, number := toText(value), toNumber(value); name {
		case "function":
			s.function = text
		case "uid":
			s.uid = text
		case "revision":
			s.revision = int64(number)
		case "handler":
			s.handler = text
		case "concurrency":
			s.concurrency = int(number)
		case "memoryMiB":
			s.memoryMiB = int64(number)
		}
	})
	if !whole {
		fatal(frame.ErrBroken)
	}
	return s
}

func toText(value any) string {
	text, _ := value.(string)
	return text
}

func toNumber(value any) float64 {
	number, _ := value.(float64)
	return number
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "replica:", err)
	os.Exit(1)
}
