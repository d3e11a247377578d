package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
	_ "time/tzdata"
)

type Event struct {
	Body struct {
		Timezone string `json:"timezone"`
		Currency string `json:"currency"`
	} `json:"body"`
	Trigger struct {
		PlannedAt time.Time `json:"plannedAt"`
	} `json:"trigger"`
}

type Order struct {
	Product string `json:"product"`
	Pieces  int    `json:"pieces"`
	Cents   int    `json:"cents"`
}

type Report struct {
	Day      string `json:"day"`
	Orders   int    `json:"orders"`
	Cents    int    `json:"cents"`
	Best     string `json:"best"`
	Currency string `json:"currency"`
}

var sample = []Order{{"tea", 3, 1350}, {"cup", 1, 900}, {"tea", 2, 900}}

func Handler(ctx context.Context, event Event) (*Report, error) {
	zone, err := time.LoadLocation(event.Body.Timezone)
	if err != nil {
		return nil, err
	}
	// The planned time counts, so that a run that comes late still reports its own day.
	planned := event.Trigger.PlannedAt
	if planned.IsZero() {
		planned = time.Now()
	}
	day := planned.In(zone).AddDate(0, 0, -1).Format("2006-01-02")
	orders, err := loadOrders(ctx, day)
	if err != nil {
		return nil, err
	}
	report := summarise(orders)
	report.Day, report.Currency = day, event.Body.Currency
	fmt.Printf("report of %s: %d orders, %.2f %s, most sold: %s\n",
		day, report.Orders, float64(report.Cents)/100, report.Currency, report.Best)
	return report, nil
}

func loadOrders(ctx context.Context, day string) ([]Order, error) {
	if os.Getenv("ORDERS_URL") == "" {
		return sample, nil
	}
	request, err := http.NewRequestWithContext(ctx, "GET", os.Getenv("ORDERS_URL")+"?day="+day, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the orders of %s cannot be had: %s", day, response.Status)
	}
	var orders []Order
	return orders, json.NewDecoder(response.Body).Decode(&orders)
}

func summarise(orders []Order) *Report {
	report := &Report{Orders: len(orders)}
	sold := map[string]int{}
	for _, order := range orders {
		report.Cents += order.Cents
		sold[order.Product] += order.Pieces
		if report.Best == "" || sold[order.Product] > sold[report.Best] {
			report.Best = order.Product
		}
	}
	return report
}
