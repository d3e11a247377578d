import json

# Messages may come more than once: a real worker keeps this in its database, with its effects.
done = set()


def handler(event):
    message_id, attempt = event["trigger"]["messageId"], event["trigger"]["attempt"]
    if message_id in done:
        return
    order = event["body"]
    # What is raised counts as a failed attempt: the message comes again, and lies in orders-python.dead after the last.
    if not isinstance(order, dict) or not order.get("id") or not isinstance(order.get("lines"), list):
        raise TypeError(f"attempt {attempt}: not an order: {json.dumps(order)}")
    cents = sum(line["pieces"] * line["cents"] for line in order["lines"])
    print(f"order {order['id']}: {len(order['lines'])} lines, {cents / 100:.2f}")
    done.add(message_id)
