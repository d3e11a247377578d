// The launcher is a waiting Go replica: it becomes the function's own program once it is told which.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"kubeserverless/frame"
)

// The server puts the function's program there before it sends SPECIALISE.
const defaultProgram = "/function/handler"

func main() {
	program := defaultProgram
	if len(os.Args) > 1 {
		program = os.Args[1]
	}
	specialisation, err := frame.WaitForSpecialise(frame.Descriptor)
	if frame.IsEnd(err) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "launcher:", err)
		os.Exit(1)
	}
	// The program hides these arguments before any code of the function runs.
	arguments := []string{program, string(specialisation.Meta), strconv.FormatInt(time.Now().UnixNano(), 10)}
	err = syscall.Exec(program, arguments, frame.BuildEnvironment(specialisation.Environment))
	frame.SendFailed(frame.Descriptor, "LoadError", fmt.Sprintf("%s: %v", program, err))
	os.Exit(1)
}
