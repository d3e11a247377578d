package shim

import (
	"os"
	"strconv"
	"strings"
	"time"

	"kubeserverless/frame"
)

// What a pod adds. The package shim/pod sets these, and is linked only into programs that are made for pods.
var (
	// StartInPod is called once the program serves, with what the launcher passed on.
	StartInPod func(r *InPod, argument string)
	// DescribeLoad is the meta of PONG.
	DescribeLoad func(inFlight int) []byte
	// Drain prints what was printed and not read yet; called before a call's last frame.
	Drain func()
	// Echo gets what is printed too.
	Echo func(stream, requestID, lines string, truncated bool)
)

// The launcher's argument for StartInPod; empty where this is no pod.
var podArgument string

// InPod is the replica as the pod's own code sees it.
type InPod struct{ replica *replica }

// Facts of the function, for whoever asks.
func (*InPod) Facts() (function, uid string, revision int64) {
	return specialised.function, specialised.uid, specialised.revision
}

// InFlight counts the calls of all gateways.
func (p *InPod) InFlight() int {
	p.replica.lock.Lock()
	defer p.replica.lock.Unlock()
	return p.replica.inFlight
}

// Serve serves a gateway that has proven to be one, until it leaves; hello is sent first.
func (p *InPod) Serve(file *os.File, hello []byte) {
	c := p.replica.attach(file)
	c.writer.send(frame.Frame{Kind: frame.Hello, Meta: hello})
	c.serve()
}

// Leave ends the replica when its calls have ended.
func (p *InPod) Leave() { p.replica.leave() }

// Print takes what was printed past a call's context: the call's that runs alone, or nobody's.
func (p *InPod) Print(stream, text string) {
	call := p.replica.soleCall()
	text = strings.ToValidUTF8(strings.TrimSuffix(text, "\n"), "\ufffd")
	for more := true; more; more = text != "" {
		var lines string
		var truncated bool
		lines, text, truncated = cutLines(text)
		if call != nil {
			call.printLines(stream, lines, truncated)
			continue
		}
		echo(stream, "", lines, truncated)
		if c := p.replica.newest(); c != nil {
			c.writer.sendPatiently(logFrame(0, stream, "", lines, truncated))
		}
	}
}

func echo(stream, requestID, lines string, truncated bool) {
	if Echo != nil {
		Echo(stream, requestID, lines, truncated)
	}
}

func logFrame(stream uint32, name, requestID, lines string, truncated bool) frame.Frame {
	meta := append([]byte(`{"stream":"`), name...)
	meta = append(meta, '"')
	if requestID != "" {
		meta = appendString(append(meta, `,"requestId":`...), requestID)
	}
	meta = append(meta, `,"timeMs":`...)
	meta = strconv.AppendInt(meta, time.Now().UnixMilli(), 10)
	if truncated {
		meta = append(meta, `,"truncated":true`...)
	}
	return frame.Frame{Stream: stream, Kind: frame.Log, Meta: append(meta, '}'), Body: []byte(lines)}
}
