package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
)

type Event struct {
	Headers map[string]string `json:"headers"`
	RawBody []byte            `json:"rawBody"`
	Body    struct {
		Zen        string `json:"zen"`
		Ref        string `json:"ref"`
		Commits    []any  `json:"commits"`
		Repository struct {
			FullName string `json:"full_name"`
		} `json:"repository"`
	} `json:"body"`
}

type Response struct {
	StatusCode int            `json:"statusCode"`
	Body       map[string]any `json:"body"`
}

func Handler(event Event) (Response, error) {
	if !isSigned(event) {
		return Response{401, map[string]any{"error": "The signature is missing or wrong"}}, nil
	}
	kind, body := event.Headers["x-github-event"], event.Body
	if kind == "ping" {
		return Response{200, map[string]any{"pong": body.Zen}}, nil
	}
	fmt.Printf("%s to %s %s: %d commits\n", kind, body.Repository.FullName, body.Ref, len(body.Commits))
	return Response{202, map[string]any{"accepted": kind, "commits": len(body.Commits)}}, nil
}

// isSigned looks at the bytes as they were sent: the signature covers those, so the parsed body will not do.
func isSigned(event Event) bool {
	mac := hmac.New(sha256.New, []byte(os.Getenv("WEBHOOK_SECRET")))
	mac.Write(event.RawBody)
	expected := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	return hmac.Equal([]byte(event.Headers["x-hub-signature-256"]), []byte(expected))
}
