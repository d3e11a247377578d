import hashlib
import hmac
import os


def handler(event):
    if not is_signed(event):
        return {"statusCode": 401, "body": {"error": "The signature is missing or wrong"}}
    kind = event["headers"].get("x-github-event")
    body = event["body"]
    if kind == "ping":
        return {"pong": body.get("zen")}
    commits = body.get("commits", [])
    print(f"{kind} to {body['repository']['full_name']} {body.get('ref')}: {len(commits)} commits")
    return {"statusCode": 202, "body": {"accepted": kind, "commits": len(commits)}}


def is_signed(event):
    """The signature covers the bytes as they were sent, so the parsed body will not do."""
    secret = os.environ["WEBHOOK_SECRET"].encode()
    expected = "sha256=" + hmac.new(secret, event["rawBody"], hashlib.sha256).hexdigest()
    given = event["headers"].get("x-hub-signature-256", "")
    return hmac.compare_digest(given.encode(), expected.encode())
