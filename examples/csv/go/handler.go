package main

import (
	"encoding/csv"
	"math"
	"strconv"
	"strings"
)

type Event struct {
	Body  any            `json:"body"`
	Query map[string]any `json:"query"`
}

func Handler(event Event) (any, error) {
	text, isText := event.Body.(string)
	if !isText || strings.TrimSpace(text) == "" {
		return refuse("Send a CSV file with Content-Type: text/csv"), nil
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		return refuse(err.Error()), nil
	}
	names, records := rows[0], rows[1:]
	if event.Query["as"] == "rows" {
		return toObjects(names, records), nil
	}
	columns := map[string]any{}
	for i, name := range names {
		columns[name] = describe(records, i)
	}
	return map[string]any{"rows": len(records), "columns": columns}, nil
}

func refuse(message string) any {
	return map[string]any{"statusCode": 400, "body": map[string]string{"error": message}}
}

func toObjects(names []string, records [][]string) []map[string]string {
	objects := make([]map[string]string, len(records))
	for i, record := range records {
		objects[i] = map[string]string{}
		for j, name := range names {
			objects[i][name] = record[j]
		}
	}
	return objects
}

func describe(records [][]string, column int) any {
	distinct := map[string]bool{}
	low, high, sum, isNumeric := math.Inf(1), math.Inf(-1), 0.0, len(records) > 0
	for _, record := range records {
		distinct[record[column]] = true
		number, err := strconv.ParseFloat(record[column], 64)
		isNumeric = isNumeric && err == nil && !math.IsInf(number, 0) && !math.IsNaN(number)
		low, high, sum = math.Min(low, number), math.Max(high, number), sum+number
	}
	if !isNumeric {
		return map[string]any{"type": "text", "distinct": len(distinct)}
	}
	return map[string]any{"type": "number", "min": low, "max": high, "mean": sum / float64(len(records))}
}
