// Package pod makes a function's program serve every gateway that dials its pod. The generated code imports it, where the program is made for pods.
package pod

import (
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"kubeserverless/pod"
	"kubeserverless/shim"
)

func init() {
	shim.StartInPod = start
	shim.DescribeLoad = pod.DescribeLoad
}

// What is printed before the program serves waits in the pipes.
var printed = map[string]*os.File{"stdout": capture(&os.Stdout), "stderr": capture(&os.Stderr)}

func start(replica *shim.InPod, argument string) {
	var facts pod.Facts
	if err := json.Unmarshal([]byte(argument), &facts); err != nil {
		panic(err)
	}
	syscall.CloseOnExec(facts.Listener)
	function, uid, revision := replica.Facts()
	output := pod.NewOutput(1, function, revision)
	shim.Echo = output.Write
	var followers []*follower
	for stream, file := range printed {
		if f := newFollower(replica, stream, file); f != nil {
			followers = append(followers, f)
			go f.follow()
		}
	}
	shim.Drain = func() {
		for _, f := range followers {
			f.drain()
		}
	}
	// At once, as log.Fatal ends the process behind it.
	if log.Writer() == os.Stderr {
		log.SetOutput(logWriter{replica})
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		replica.Leave()
	}()
	version := strings.TrimPrefix(runtime.Version(), "go")
	hello := func() []byte {
		meta, _ := json.Marshal(map[string]any{
			"protocol": 1, "language": "go", "version": version, "inFlight": replica.InFlight(),
			"state": "specialised", "function": uid, "revision": revision,
		})
		return meta
	}
	go pod.NewSpecialised(facts, hello, replica.Serve).Listen()
}

// capture makes what is printed by the variable's file readable; a crash of the program still says why by its descriptor.
func capture(variable **os.File) *os.File {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil
	}
	if log.Writer() == *variable {
		log.SetOutput(writer)
	}
	*variable = writer
	return reader
}

type logWriter struct{ replica *shim.InPod }

func (w logWriter) Write(text []byte) (int, error) {
	w.replica.Print("stderr", string(text))
	return len(text), nil
}
