import csv
import io
import math


def handler(event):
    text = event["body"]
    if not isinstance(text, str) or not text.strip():
        return refuse("Send a CSV file with Content-Type: text/csv")
    try:
        names, *records = parse_csv(text)
    except (csv.Error, ValueError) as error:
        return refuse(str(error))
    if event["query"].get("as") == "rows":
        return [dict(zip(names, record)) for record in records]
    columns = {name: describe([record[i] for record in records]) for i, name in enumerate(names)}
    return {"rows": len(records), "columns": columns}


def refuse(error):
    return {"statusCode": 400, "body": {"error": error}}


def parse_csv(text):
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    for line, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise ValueError(f"Line {line}: {len(row)} fields instead of {len(rows[0])}")
    return rows


def describe(values):
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        return {"type": "text", "distinct": len(set(values))}
    return {"type": "number", "min": min(numbers), "max": max(numbers), "mean": sum(numbers) / len(numbers)}
