package shim

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	codeFunctionError  = "FUNCTION_ERROR"
	codeInvalidRequest = "INVALID_REQUEST"
	codeTooLarge       = "RESPONSE_TOO_LARGE"

	// Together within a frame's meta, even where JSON writes every byte as six.
	maxMessageBytes = 4 << 10
	maxStackBytes   = 4 << 10
)

// responseTooLarge is the size of a body that isn't streamed.
type responseTooLarge int

func (size responseTooLarge) Error() string {
	return fmt.Sprintf("The response has %d bytes, the limit is %d: return an io.Reader instead", int(size), maxResponseBytes)
}

var errInvalidRequest = errors.New("Invalid request body")

// failure is what a call is answered instead of a response.
type failure struct {
	code    string
	kind    string
	message string
	stack   string
}

func (f *failure) errorMeta(durationMs float64) []byte {
	meta := appendString([]byte(`{"code":`), f.code)
	meta = appendString(append(meta, `,"type":`...), f.kind)
	meta = appendString(append(meta, `,"message":`...), shorten(f.message, maxMessageBytes))
	if f.stack != "" {
		meta = appendString(append(meta, `,"stack":`...), shorten(f.stack, maxStackBytes))
	}
	meta = append(meta, `,"durationMs":`...)
	return append(strconv.AppendFloat(meta, durationMs, 'f', 3, 64), '}')
}

func (f *failure) abortMeta() []byte {
	return append(appendString([]byte(`{"message":`), shorten(f.message, maxMessageBytes)), '}')
}

func describeError(err error) failure {
	if err == errInvalidRequest {
		return failure{code: codeInvalidRequest, kind: "InvalidRequest", message: err.Error()}
	}
	if tooLarge, ok := err.(responseTooLarge); ok {
		return failure{code: codeTooLarge, kind: "ResponseTooLarge", message: tooLarge.Error()}
	}
	return failure{code: codeFunctionError, kind: typeName(err), message: err.Error()}
}

// describePanic is called by the deferred function that recovered.
func describePanic(value any) failure {
	f := failure{code: codeFunctionError, kind: "panic", stack: ownStack(string(debug.Stack()))}
	switch v := value.(type) {
	case nil:
		f.kind, f.message = "Goexit", "the handler ended its goroutine (runtime.Goexit or panic(nil))"
	case error:
		f.kind, f.message = typeName(v), v.Error()
	default:
		f.message = fmt.Sprint(v)
	}
	return f
}

// typeName names types of the function's own package without it.
func typeName(value any) string {
	return strings.TrimPrefix(strings.TrimPrefix(reflect.TypeOf(value).String(), "*"), "function.")
}

// ownStack keeps the function's part: below the panic, above the shim. Each frame is two lines.
func ownStack(stack string) string {
	lines := strings.Split(strings.TrimSpace(stack), "\n")
	start := 1
	for i := 1; i+1 < len(lines); i += 2 {
		if strings.HasPrefix(lines[i], "panic(") || strings.HasPrefix(lines[i], "runtime.") {
			start = i + 2
		} else if start > 1 {
			break
		}
	}
	var kept []string
	for i := start; i+1 < len(lines); i += 2 {
		name := lines[i]
		if strings.HasPrefix(name, "kubeserverless/shim.") || strings.HasPrefix(name, "reflect.Value.") {
			break
		}
		if end := strings.LastIndexByte(name, '('); end > 0 {
			name = name[:end]
		}
		place := strings.TrimSpace(lines[i+1])
		if end := strings.LastIndex(place, " +0x"); end > 0 {
			place = place[:end]
		}
		kept = append(kept, "at "+name+" ("+place+")")
	}
	return strings.Join(kept, "\n")
}

func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
