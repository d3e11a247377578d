// The builder waits in a pod of its own for the source code of one Go function, compiles it, and ends: the next source finds
// a pod that has seen no other.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"kubeserverless/frame"
	"kubeserverless/pod"
	"kubeserverless/waiting"
)

const (
	buildTimeout    = 120 * time.Second
	maxProgramBytes = 64 << 20
	maxSourceBytes  = 2 << 20
	maxMessageBytes = 32 << 10
)

func main() {
	toolkit := os.Getenv("KS_GO_TOOLKIT")
	facts, err := waiting.Start("a builder")
	if err != nil {
		fatal(err)
	}
	about, err := os.ReadFile(filepath.Join(toolkit, "toolkit.json"))
	if err != nil {
		fatal(err)
	}
	version := strings.TrimPrefix(runtime.Version(), "go")
	hello := []byte(fmt.Sprintf(`{"protocol":1,"language":"go-builder","version":%q,"inFlight":0,"state":"generic","toolkit":%s}`, version, about))
	pod.NewGeneric(facts, func() []byte { return hello }, func(peer *pod.Peer, f frame.Frame) {
		build(toolkit, peer, f)
		os.Exit(0)
	}).Listen()
}

type order struct {
	Arguments []string
}

func build(toolkit string, peer *pod.Peer, f frame.Frame) {
	var wanted order
	if err := json.Unmarshal(f.Meta, &wanted); f.Kind != frame.Build || err != nil || len(wanted.Arguments) == 0 {
		return
	}
	source := append([]byte(nil), f.Body...)
	for f.More {
		var err error
		if f, err = peer.Read(); err != nil || f.Kind != frame.Build || len(source)+len(f.Body) > maxSourceBytes {
			return
		}
		source = append(source, f.Body...)
	}
	// Compiling for a gateway that is gone is of no use to anybody.
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	go func() {
		for {
			next, err := peer.Read()
			if err != nil {
				os.Exit(0)
			}
			if next.Kind == frame.Ping {
				_ = peer.Send(frame.Frame{Kind: frame.Pong, Meta: pod.DescribeLoad(0), Body: next.Body})
			}
		}
	}()
	var program, words bytes.Buffer
	command := exec.CommandContext(ctx, "/bin/sh", append([]string{filepath.Join(toolkit, "build.sh")}, wanted.Arguments...)...)
	command.Stdin = bytes.NewReader(source)
	command.Stdout = &program
	command.Stderr = &words
	command.Env = []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8", "KS_FOR_POD=1"}
	err := command.Run()
	switch {
	case ctx.Err() != nil:
		fail(peer, "Timeout", "", nil)
	case err != nil:
		fail(peer, "Compiler", words.String(), command.ProcessState)
	case program.Len() > maxProgramBytes:
		fail(peer, "Output", "", nil)
	default:
		send(peer, program.Bytes())
	}
}

func fail(peer *pod.Peer, reason, message string, state *os.ProcessState) {
	if len(message) > maxMessageBytes {
		message = message[:maxMessageBytes]
	}
	about := map[string]any{"reason": reason, "message": strings.ToValidUTF8(message, "\ufffd")}
	if state != nil && state.ExitCode() >= 0 {
		about["code"] = state.ExitCode()
	}
	if state != nil && state.ExitCode() == 128+int(syscall.SIGKILL) {
		about["reason"] = "Memory"
	}
	meta, _ := json.Marshal(about)
	_ = peer.Send(frame.Frame{Kind: frame.Failed, Meta: meta})
}

func send(peer *pod.Peer, program []byte) {
	for {
		piece := program
		if len(piece) > frame.MaxBody {
			piece = program[:frame.MaxBody]
		}
		program = program[len(piece):]
		if peer.Send(frame.Frame{Kind: frame.Artifact, More: len(program) > 0, Body: piece}) != nil || len(program) == 0 {
			return
		}
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "builder:", err)
	os.Exit(1)
}
