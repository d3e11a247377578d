package frame

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

type vectors struct {
	Frames []struct {
		Name  string
		Hex   string
		Frame struct {
			Stream     uint32
			Kind       uint16
			More       bool
			MetaText   string
			BodyBase64 string
		}
	}
	Malformed []struct{ Name, Hex, Why string }
	Generated []struct {
		Name      string
		Kind      uint16
		BodyBytes int
		Valid     bool
	}
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	text, err := os.ReadFile("../../vectors/frames.json")
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil || len(v.Frames) == 0 {
		t.Fatal("no vectors", err)
	}
	return v
}

func TestGoldenFrames(t *testing.T) {
	for _, v := range readVectors(t).Frames {
		bytes, _ := hex.DecodeString(v.Hex)
		body, _ := base64.StdEncoding.DecodeString(v.Frame.BodyBase64)
		f, size, err := Parse(bytes)
		if err != nil || size != len(bytes) {
			t.Errorf("%s: size %d of %d, %v", v.Name, size, len(bytes), err)
			continue
		}
		if f.Stream != v.Frame.Stream || f.Kind != v.Frame.Kind || f.More != v.Frame.More ||
			string(f.Meta) != v.Frame.MetaText || string(f.Body) != string(body) {
			t.Errorf("%s: decoded to %+v", v.Name, f)
		}
		if again := Append(nil, f); string(again) != string(bytes) {
			t.Errorf("%s: encoded to %x", v.Name, again)
		}
		for cut := 0; cut < len(bytes); cut++ {
			if _, size, err := Parse(bytes[:cut]); size != 0 || err != nil {
				t.Fatalf("%s: %d bytes of it make size %d, %v", v.Name, cut, size, err)
			}
		}
	}
}

func TestMalformedFrames(t *testing.T) {
	for _, v := range readVectors(t).Malformed {
		if strings.HasPrefix(v.Why, "meta is ") {
			// Whoever reads the meta sees that: the shim's tests.
			continue
		}
		bytes, _ := hex.DecodeString(v.Hex)
		if _, _, err := Parse(bytes); err == nil {
			t.Errorf("%s was taken, though %s", v.Name, v.Why)
		}
	}
}

func TestSizesOfFrames(t *testing.T) {
	for _, v := range readVectors(t).Generated {
		_, _, err := Parse(Append(nil, Frame{Kind: v.Kind, Body: make([]byte, v.BodyBytes)}))
		if (err == nil) != v.Valid {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}
