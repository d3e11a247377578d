// Package proof verifies that who dials a pod is a gateway.
package proof

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"strings"
)

const (
	// Role is that of a gateway towards a pod.
	Role = "gateway-to-pod"
	// NonceBytes is the length of a challenge.
	NonceBytes = 32
	// SignatureBytes is the length of an answer.
	SignatureBytes = 256

	domain   = "kube-serverless proof v1"
	exponent = 65537
	maxKeys  = 4
)

var errKeys = errors.New("1 to 4 public keys are wanted, RSA with 2048 bits and the exponent 65537")

// ParsePublicKeys reads a JSON Web Key Set.
func ParsePublicKeys(text []byte) ([]*rsa.PublicKey, error) {
	var set struct {
		Keys []struct{ Kty, N, E string }
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) == 0 || len(set.Keys) > maxKeys {
		return nil, errKeys
	}
	keys := make([]*rsa.PublicKey, len(set.Keys))
	for i, key := range set.Keys {
		bytes, err := base64.RawURLEncoding.DecodeString(key.N)
		if err != nil {
			return nil, err
		}
		modulus := new(big.Int).SetBytes(bytes)
		if key.Kty != "RSA" || key.E != "AQAB" || modulus.BitLen() != 8*SignatureBytes {
			return nil, errKeys
		}
		keys[i] = &rsa.PublicKey{N: modulus, E: exponent}
	}
	return keys, nil
}

// ReadPublicKeys reads those of a file.
func ReadPublicKeys(path string) ([]*rsa.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParsePublicKeys(text)
}

// Verify tells whether one of the keys signed this nonce for these parties.
func Verify(keys []*rsa.PublicKey, role string, nonce []byte, parties []string, signature []byte) bool {
	if len(signature) != SignatureBytes {
		return false
	}
	lines := append([]string{domain, role, hex.EncodeToString(nonce)}, parties...)
	hash := sha256.Sum256([]byte(strings.Join(lines, "\n") + "\n"))
	for _, key := range keys {
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, hash[:], signature) == nil {
			return true
		}
	}
	return false
}

// AnswerWithToken is what a token answers to a challenge.
func AnswerWithToken(token, nonce []byte) []byte {
	mac := hmac.New(sha256.New, token)
	mac.Write(nonce)
	return mac.Sum(nil)
}
