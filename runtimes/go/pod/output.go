package pod

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Output is the pod's own, for the cluster's collectors: a JSON object a line. It never waits for whoever reads it.
type Output struct {
	function string
	revision int64

	lock    sync.Mutex
	fd      int
	rest    []byte
	dropped int
}

type line struct {
	Time      string  `json:"time"`
	Stream    string  `json:"stream"`
	Function  string  `json:"function"`
	Revision  int64   `json:"revision"`
	RequestID string  `json:"requestId,omitempty"`
	Message   *string `json:"message,omitempty"`
	Truncated bool    `json:"truncated,omitempty"`
	Dropped   int     `json:"dropped,omitempty"`
}

// NewOutput writes to the descriptor. A pipe is opened once more, as its own descriptor must stay as it is for what the function starts.
func NewOutput(fd int, function string, revision int64) *Output {
	o := &Output{function: function, revision: revision, fd: fd}
	var status syscall.Stat_t
	if syscall.Fstat(fd, &status) == nil && status.Mode&syscall.S_IFMT == syscall.S_IFIFO {
		path := "/proc/self/fd/" + string(rune('0'+fd))
		if own, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0); err == nil {
			o.fd = own
		}
	}
	return o
}

// Write takes lines parted by \n.
func (o *Output) Write(stream, requestID, lines string, truncated bool) {
	o.lock.Lock()
	defer o.lock.Unlock()
	entry := line{
		Time:     time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		Stream:   stream,
		Function: o.function, Revision: o.revision, RequestID: requestID, Truncated: truncated,
	}
	pieces := strings.Split(lines, "\n")
	if !o.sendRest() || !o.sendDropped(entry) {
		o.dropped += len(pieces)
		return
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	for i := range pieces {
		entry.Message = &pieces[i]
		_ = encoder.Encode(entry)
	}
	o.send(buffer.Bytes())
}

func (o *Output) sendDropped(entry line) bool {
	if o.dropped > 0 {
		entry.Stream, entry.RequestID, entry.Truncated, entry.Dropped = "stderr", "", false, o.dropped
		o.dropped = 0
		text, _ := json.Marshal(entry)
		o.send(append(text, '\n'))
	}
	return len(o.rest) == 0
}

func (o *Output) sendRest() bool {
	rest := o.rest
	o.rest = nil
	if len(rest) > 0 {
		o.send(rest)
	}
	return len(o.rest) == 0
}

func (o *Output) send(text []byte) {
	for len(text) > 0 {
		n, err := syscall.Write(o.fd, text)
		if n > 0 {
			text = text[n:]
		}
		if err == syscall.EAGAIN {
			o.rest = append([]byte(nil), text...)
			return
		}
		if err != nil && err != syscall.EINTR {
			return
		}
	}
}
