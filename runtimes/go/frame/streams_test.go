package frame

import (
	"bufio"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"testing"
)

type decoded struct {
	Frames []string `json:"frames"`
	End    string   `json:"end"`
}

func digest(bytes []byte) string {
	sum := sha1.Sum(bytes)
	return hex.EncodeToString(sum[:])[:12]
}

func decodeStream(bytes []byte, piece int) decoded {
	d := decoded{Frames: []string{}, End: "whole"}
	var pending []byte
	for at := 0; at < len(bytes); at += piece {
		end := at + piece
		if end > len(bytes) {
			end = len(bytes)
		}
		pending = append(pending, bytes[at:end]...)
		for {
			f, size, err := Parse(pending)
			if err != nil {
				d.End = "refused"
				return d
			}
			if size == 0 {
				break
			}
			kind := f.Kind
			if f.More {
				kind |= more
			}
			d.Frames = append(d.Frames, fmt.Sprintf("%d %d %s %s", f.Stream, kind, digest(f.Meta), digest(f.Body)))
			pending = pending[size:]
		}
	}
	if len(pending) > 0 {
		d.End = "waits"
	}
	return d
}

// Decodes what the environment names, a stream in hexadecimal and the size of its pieces a line, to be held against the other decoders.
func TestStreamsOfFile(t *testing.T) {
	path := os.Getenv("KS_FRAME_STREAMS")
	if path == "" {
		return
	}
	input, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	output, err := os.Create(os.Getenv("KS_FRAMES_DECODED"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, 64<<20)
	encoder := json.NewEncoder(output)
	for lines.Scan() {
		text, size, _ := strings.Cut(lines.Text(), " ")
		piece, err := strconv.Atoi(size)
		if err != nil {
			t.Fatal(err)
		}
		bytes, _ := hex.DecodeString(strings.TrimPrefix(text, "-"))
		if err := encoder.Encode(decodeStream(bytes, piece)); err != nil {
			t.Fatal(err)
		}
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
}

// What is parsed lies within the bytes, and encoding it gives them back.
func checkParse(t *testing.T, bytes []byte) {
	t.Helper()
	f, size, err := Parse(bytes)
	if err != nil || size == 0 {
		return
	}
	if size > len(bytes) || size > 4+MaxLength {
		t.Fatalf("%x: a size of %d", bytes, size)
	}
	if again := Append(nil, f); string(again) != string(bytes[:size]) {
		t.Fatalf("%x: encoded to %x", bytes[:size], again)
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range readVectors(&testing.T{}).Frames {
		bytes, _ := hex.DecodeString(v.Hex)
		f.Add(bytes)
	}
	f.Fuzz(checkParse)
}

func TestDamagedFrames(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	golden := readVectors(t).Frames
	for round := 0; round < 50_000; round++ {
		bytes, _ := hex.DecodeString(golden[random.Intn(len(golden))].Hex)
		for count := random.Intn(4); count >= 0; count-- {
			bytes[random.Intn(len(bytes))] = byte(random.Intn(256))
		}
		checkParse(t, bytes[:1+random.Intn(len(bytes))])
		checkParse(t, bytes)
	}
}
