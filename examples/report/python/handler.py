import datetime
import json
import os
import urllib.request
import zoneinfo
from collections import Counter

SAMPLE = [
    {"product": "tea", "pieces": 3, "cents": 1350},
    {"product": "cup", "pieces": 1, "cents": 900},
    {"product": "tea", "pieces": 2, "cents": 900},
]


def handler(event):
    currency = event["body"].get("currency", "EUR")
    day = day_before(event["trigger"].get("plannedAt"), event["body"].get("timezone", "UTC"))
    orders = load_orders(day)
    report = {"day": day, "orders": len(orders), **summarise(orders), "currency": currency}
    print(f"report of {day}: {len(orders)} orders, {report['cents'] / 100:.2f} {currency}, most sold: {report['best']}")
    return report


def day_before(planned_at, timezone):
    """The planned time counts, so that a run that comes late still reports its own day."""
    now = datetime.datetime.now(datetime.timezone.utc)
    time = datetime.datetime.fromisoformat(planned_at.replace("Z", "+00:00")) if planned_at else now
    today = time.astimezone(zoneinfo.ZoneInfo(timezone)).date()
    return (today - datetime.timedelta(days=1)).isoformat()


def load_orders(day):
    if not os.environ.get("ORDERS_URL"):
        return SAMPLE
    with urllib.request.urlopen(f"{os.environ['ORDERS_URL']}?day={day}", timeout=10) as response:
        return json.load(response)


def summarise(orders):
    sold = Counter()
    for order in orders:
        sold[order["product"]] += order["pieces"]
    best = sold.most_common(1)[0][0] if sold else None
    return {"cents": sum(order["cents"] for order in orders), "best": best}
