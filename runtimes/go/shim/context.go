package shim

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"
)

const maxLineBytes = 64 << 10

// callValues gives a handler what its context knows, by names that need no import.
type callValues struct {
	context.Context
	call *call
}

func (c *call) newContext() (context.Context, context.CancelFunc) {
	values := &callValues{Context: context.Background(), call: c}
	ctx, cancel := context.WithDeadline(values, c.deadline())
	c.whenCancelled(cancel)
	return ctx, cancel
}

func (c *call) deadline() time.Time {
	return c.began.Add(time.Duration(c.meta.timeoutMs * float64(time.Millisecond)))
}

// Value answers the names that runtimes/go/README.md lists.
func (v *callValues) Value(key any) any {
	name, ok := key.(string)
	if !ok {
		return v.Context.Value(key)
	}
	switch name {
	case "requestId", "awsRequestId":
		return v.call.meta.id
	case "functionName":
		return specialised.function
	case "functionVersion":
		return fmt.Sprint(specialised.revision)
	case "memoryLimitInMB":
		return int(specialised.memoryMiB)
	case "invokedFunctionArn":
		return fmt.Sprintf("kube-serverless:%s:%d", specialised.function, specialised.revision)
	case "logGroupName":
		return "/kube-serverless/" + specialised.function
	case "logStreamName":
		return fmt.Sprintf("%d/%s", specialised.revision, specialised.uid)
	case "deadline":
		return v.call.deadline()
	case "rawBody":
		return v.call.body
	case "caller":
		return v.call.caller()
	case "traceparent":
		return v.call.meta.traceparent
	case "log":
		return v.call.log
	case "logger":
		return log.New(logWriter{v.call}, "", 0)
	}
	return nil
}

// caller says who called, as a map; nil for who did not prove it.
func (c *call) caller() any {
	if c.meta.caller == nil {
		return nil
	}
	value, _ := parseJSON(c.meta.caller)
	return value
}

// log prints its arguments, parted by spaces, as a line of this call.
func (c *call) log(arguments ...any) {
	c.print(fmt.Sprintln(arguments...))
}

// logWriter lets a *log.Logger write lines of a call.
type logWriter struct{ call *call }

func (w logWriter) Write(text []byte) (int, error) {
	w.call.print(string(text))
	return len(text), nil
}

func (c *call) print(text string) {
	text = strings.ToValidUTF8(strings.TrimSuffix(text, "\n"), "\ufffd")
	for more := true; more; more = text != "" {
		var lines string
		var truncated bool
		lines, text, truncated = cutLines(text)
		c.printLines("stdout", lines, truncated)
	}
}

// cutLines takes as many whole lines as a frame holds; a line that is longer is cut, its end thrown away.
func cutLines(text string) (lines, rest string, truncated bool) {
	if len(text) <= maxLineBytes {
		return text, "", false
	}
	if end := strings.LastIndexByte(text[:maxLineBytes+1], '\n'); end >= 0 {
		return text[:end], text[end+1:], false
	}
	lines = strings.ToValidUTF8(text[:maxLineBytes], "")
	if end := strings.IndexByte(text, '\n'); end >= 0 {
		return lines, text[end+1:], true
	}
	return lines, "", true
}
