package frame

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// ErrDrained says that the replica was told to end, or its gateway is gone, before it was given a function.
var ErrDrained = errors.New("ended before SPECIALISE")

// Specialisation is what SPECIALISE carries, without the source code.
type Specialisation struct {
	Meta        []byte
	Environment map[string]string
}

// WaitForSpecialise sends HELLO and answers PING until SPECIALISE has come. It never reads beyond a frame's end,
// so that what follows can be read by the program that takes this one's place.
func WaitForSpecialise(descriptor int) (Specialisation, error) {
	version := strings.TrimPrefix(runtime.Version(), "go")
	hello := `{"protocol":1,"language":"go","version":"` + version + `","inFlight":0}`
	if err := writeAll(descriptor, Append(nil, Frame{Kind: Hello, Meta: []byte(hello)})); err != nil {
		return Specialisation{}, err
	}
	for {
		f, err := readOne(descriptor)
		if err != nil {
			return Specialisation{}, err
		}
		switch f.Kind {
		case Specialise:
			return ParseSpecialise(f)
		case Ping:
			pong := Frame{Kind: Pong, Meta: []byte(`{"inFlight":0}`), Body: f.Body}
			if err := writeAll(descriptor, Append(nil, pong)); err != nil {
				return Specialisation{}, err
			}
		case Drain:
			return Specialisation{}, ErrDrained
		case Call, Data:
			return Specialisation{}, ErrBroken
		}
	}
}

// BuildEnvironment is the function's environment over what every function has; HOME is not the function's to choose.
func BuildEnvironment(own map[string]string) []string {
	all := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
	for name := range all {
		if value, ok := os.LookupEnv(name); ok {
			all[name] = value
		}
	}
	for name, value := range own {
		all[name] = value
	}
	all["HOME"] = "/tmp"
	if home, ok := os.LookupEnv("HOME"); ok {
		all["HOME"] = home
	}
	list := make([]string, 0, len(all))
	for name, value := range all {
		list = append(list, name+"="+value)
	}
	return list
}

// ParseSpecialise reads SPECIALISE; the source code in it is passed over.
func ParseSpecialise(f Frame) (Specialisation, error) {
	s := Specialisation{Meta: f.Meta}
	if len(f.Body) < 4 {
		return s, ErrBroken
	}
	size := int(binary.BigEndian.Uint32(f.Body))
	if size > len(f.Body)-4 {
		return s, ErrBroken
	}
	if err := json.Unmarshal(f.Body[4:4+size], &s.Environment); err != nil {
		return s, ErrBroken
	}
	return s, nil
}

func readOne(descriptor int) (Frame, error) {
	buffer := make([]byte, HeaderSize)
	if err := readFull(descriptor, buffer); err != nil {
		return Frame{}, err
	}
	size, err := Size(buffer)
	if err != nil {
		return Frame{}, err
	}
	whole := make([]byte, size)
	copy(whole, buffer)
	if err := readFull(descriptor, whole[HeaderSize:]); err != nil {
		return Frame{}, err
	}
	f, _, err := Parse(whole)
	return f, err
}

func readFull(descriptor int, buffer []byte) error {
	for len(buffer) > 0 {
		n, err := syscall.Read(descriptor, buffer)
		if n > 0 {
			buffer = buffer[n:]
		} else if err == nil {
			return io.EOF
		} else if err := afterError(descriptor, err); err != nil {
			return err
		}
	}
	return nil
}

func writeAll(descriptor int, buffer []byte) error {
	for len(buffer) > 0 {
		n, err := syscall.Write(descriptor, buffer)
		if n > 0 {
			buffer = buffer[n:]
		}
		if err != nil {
			if err := afterError(descriptor, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// An inherited socket may have been left non-blocking by whoever made it.
func afterError(descriptor int, err error) error {
	switch err {
	case syscall.EINTR:
		return nil
	case syscall.EAGAIN:
		return syscall.SetNonblock(descriptor, false)
	}
	return err
}

// IsEnd says that nothing is wrong: the replica was told to end, or its gateway is gone.
func IsEnd(err error) bool {
	return errors.Is(err, ErrDrained) || errors.Is(err, io.EOF)
}

// SendFailed says that the function can't be served; message begins with reason.
func SendFailed(descriptor int, reason, message string) {
	meta, err := json.Marshal(map[string]string{"reason": reason, "message": reason + ": " + message})
	if err == nil && len(meta) <= MaxMeta {
		_ = writeAll(descriptor, Append(nil, Frame{Kind: Failed, Meta: meta}))
	}
}
