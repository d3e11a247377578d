// Package waiting is the beginning of every process that waits in a pod for its work.
package waiting

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"kubeserverless/pod"
)

// Start listens as the pod's environment says; from then on SIGTERM ends the process at once, as nothing in it is anybody's yet.
// What names the process in an error.
func Start(what string) (pod.Facts, error) {
	facts, listen, ok := pod.ReadFacts()
	if !ok {
		return facts, errors.New("KS_LISTEN is missing: " + what + " runs in a pod")
	}
	pod.RequireEmpty()
	listener, err := pod.Bind(listen)
	if err != nil {
		return facts, err
	}
	facts.Listener = listener
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		os.Exit(0)
	}()
	return facts, nil
}
