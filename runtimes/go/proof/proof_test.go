package proof

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

type vector struct {
	Name, Role, NonceHex, SignatureBase64 string
	Parties                               []string
}

func TestProofs(t *testing.T) {
	text, err := os.ReadFile("../../vectors/proofs.json")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParsePublicKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct{ Good, Forged []vector }
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors.Good) == 0 || len(vectors.Forged) == 0 {
		t.Fatal("no vectors", err)
	}
	check := func(v vector, want bool) {
		nonce, _ := hex.DecodeString(v.NonceHex)
		signature, _ := base64.StdEncoding.DecodeString(v.SignatureBase64)
		if got := Verify(keys, v.Role, nonce, v.Parties, signature); got != want {
			t.Errorf("%s: %t", v.Name, got)
		}
	}
	for _, v := range vectors.Good {
		check(v, true)
	}
	for _, v := range vectors.Forged {
		check(v, false)
	}
}

func TestNoOtherKeys(t *testing.T) {
	for _, text := range []string{`{}`, `{"keys":[]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"EC"}]}`, `x`} {
		if keys, err := ParsePublicKeys([]byte(text)); err == nil {
			t.Errorf("%s makes %v", text, keys)
		}
	}
}
