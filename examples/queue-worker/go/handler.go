package main

import (
	"encoding/json"
	"fmt"
	"sync"
)

type Event struct {
	Body    json.RawMessage `json:"body"`
	Trigger struct {
		MessageID string `json:"messageId"`
		Attempt   int    `json:"attempt"`
	} `json:"trigger"`
}

type Order struct {
	ID    string `json:"id"`
	Lines []struct {
		Pieces int `json:"pieces"`
		Cents  int `json:"cents"`
	} `json:"lines"`
}

// Messages may come more than once: a real worker keeps this in its database, with its effects.
var done sync.Map

func Handler(event Event) error {
	if _, isDone := done.Load(event.Trigger.MessageID); isDone {
		return nil
	}
	var order Order
	// An error counts as a failed attempt: the message comes again, and lies in orders-go.dead after the last.
	if err := json.Unmarshal(event.Body, &order); err != nil || order.ID == "" || order.Lines == nil {
		return fmt.Errorf("attempt %d: not an order: %s", event.Trigger.Attempt, event.Body)
	}
	cents := 0
	for _, line := range order.Lines {
		cents += line.Pieces * line.Cents
	}
	fmt.Printf("order %s: %d lines, %.2f\n", order.ID, len(order.Lines), float64(cents)/100)
	done.Store(event.Trigger.MessageID, true)
	return nil
}
