package shim

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStrictJSON(t *testing.T) {
	cases := map[string]bool{
		`{"a":[1,-2.5e+3,"x",true,false,null,{}]}`: true,
		" [ ] ":          true,
		`""`:             true,
		`"\ud83d\ude00"`: true,
		`-0.1E-7`:        true,
		strings.Repeat("[", 512) + strings.Repeat("]", 512): true,
		strings.Repeat("[", 513) + strings.Repeat("]", 513): false,
		``:              false,
		`NaN`:           false,
		`Infinity`:      false,
		`-`:             false,
		`01`:            false,
		`1.`:            false,
		`.5`:            false,
		`+1`:            false,
		`1e`:            false,
		`{"a":1,}`:      false,
		`[1,]`:          false,
		`{a:1}`:         false,
		`'a'`:           false,
		`"\x"`:          false,
		`"\u12g4"`:      false,
		"\"\n\"":        false,
		"\"\xff\"":      false,
		"\ufeff{}":      false,
		`{} {}`:         false,
		`truex`:         false,
		`[1`:            false,
		`"a`:            false,
		"[1]\x00":       false,
		"\u00a0[1]":     false,
		`{"a" 1}`:       false,
		`{"a":1 "b":2}`: false,
	}
	for text, valid := range cases {
		if isStrictJSON([]byte(text)) != valid {
			t.Errorf("%.40q: valid should be %v", text, valid)
		}
		if _, ok := parseJSON([]byte(text)); ok != valid {
			t.Errorf("%.40q: parsed should be %v", text, valid)
		}
	}
}

// Both agree with encoding/json on all but what it is lenient about.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5,"x\n\u00e9"]}`, `[]`, `"\ud800"`, `1e400`, `-0`, `{"":{}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var wanted any
		valid := utf8.Valid(text) && json.Valid(text)
		got, ok := parseJSON(text)
		if ok != isStrictJSON(text) {
			t.Fatal("checking and parsing disagree")
		}
		if ok != valid && (ok || bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= maxJSONDepth) {
			t.Fatalf("valid: %v, %v", ok, valid)
		}
		if err := json.Unmarshal(text, &wanted); ok && err == nil && !reflect.DeepEqual(got, wanted) {
			t.Fatalf("%v, not %v", got, wanted)
		}
		if !ok {
			return
		}
		written, err := appendJSON(nil, got, 0)
		if err != nil {
			t.Fatal(err)
		}
		again, ok := parseJSON(written)
		if !ok || (!reflect.DeepEqual(again, got) && !bytes.Contains(text, []byte("e")) && !bytes.Contains(text, []byte("E")) && len(text) < 300) {
			t.Fatalf("%s read as %v", written, again)
		}
	})
}

type inner struct {
	Ratio float64 `json:"ratio"`
	Name  string  `json:"name,omitempty"`
}

type outer struct {
	inner
	Hidden  string `json:"-"`
	Pointer *inner
	List    []float32       `json:"list"`
	Map     map[int]float64 `json:"map"`
	Quoted  int             `json:"quoted,string"`
	Raw     json.RawMessage `json:"raw"`
	Bytes   []byte          `json:"bytes"`
	private int
}

func TestNumbersThatAreNotFinite(t *testing.T) {
	value := outer{
		inner:   inner{Ratio: math.NaN()},
		Pointer: &inner{Ratio: math.Inf(1), Name: "<é>"},
		List:    []float32{1.5, float32(math.Inf(-1))},
		Map:     map[int]float64{2: math.NaN(), 1: 0.5},
		Quoted:  7,
		Raw:     json.RawMessage(`{"b":1}`),
		Bytes:   []byte{0, 255},
		private: 1,
	}
	wanted := `{"ratio":null,"Pointer":{"ratio":null,"name":"<é>"},"list":[1.5,null],"map":{"1":0.5,"2":null},"quoted":"7","raw":{"b":1},"bytes":"AP8="}`
	for _, v := range []any{value, &value} {
		got, err := appendJSON(nil, v, 0)
		if err != nil || string(got) != wanted {
			t.Errorf("%s, %v", got, err)
		}
	}
}

func TestNumbersAreWrittenAsJavaScriptDoes(t *testing.T) {
	cases := map[float64]string{
		0: "0", math.Copysign(0, -1): "0", 1: "1", 0.1: "0.1", 1e20: "100000000000000000000", 1e21: "1e+21", 1e-6: "0.000001",
		1e-7: "1e-7", 1.5e-10: "1.5e-10", math.MaxFloat64: "1.7976931348623157e+308", 5e-324: "5e-324",
	}
	for number, wanted := range cases {
		if got := string(appendFloat(nil, number)); got != wanted {
			t.Errorf("%s, not %s", got, wanted)
		}
	}
}

func TestMalformedMeta(t *testing.T) {
	for _, text := range []string{`{a`, `[]`, `null`, "{\"a\":\"\xff\"}", `{} ` + "\x00", `{"id":1,}`} {
		var meta callMeta
		if meta.parse([]byte(text)) {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestCutLines(t *testing.T) {
	long := strings.Repeat("x", maxLineBytes+10)
	lines, rest, truncated := cutLines(long + "\nnext")
	if len(lines) != maxLineBytes || rest != "next" || !truncated {
		t.Error(len(lines), rest, truncated)
	}
	lines, rest, truncated = cutLines("first\n" + long)
	if lines != "first" || rest != long || truncated {
		t.Error(len(lines), len(rest), truncated)
	}
}
