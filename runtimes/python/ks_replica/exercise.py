"""Runs throw-away functions through the whole path, so that nothing is met for the first time by the first call."""

import sys
from _socket import socketpair

from .connection import Connection
from .frames import CALL, PING, SPECIALISE, encode_frame, pack_u32
from .replica import Replica

_ROUNDS = 3
# Python 3.11 and later adapt a function's bytecode after eight runs.
_CALLS = 10
_MODULE = "exercise_of_replica"
_CODE = b"""
import json

def handler(event, context):
    print("call", context.aws_request_id, event["method"])
    if event["query"].get("stream"):
        return (piece for piece in ("a", "b"))
    return {"statusCode": 200, "headers": {"x-calls": 1}, "body": {"echo": event["body"], "text": json.dumps(event["query"])}}
"""


def exercise():
    """Leaves behind warm code alone: the environment and the standard streams are set anew afterwards."""
    for _ in range(_ROUNDS):
        near, far = socketpair()
        replica = Replica()
        replica.reader = replica.attach(Connection(near, replica.on_frame))
        replica.logs.install()
        far.send(_specialise())
        _serve_all(replica)
        for stream in range(1, _CALLS + 1):
            far.send(_call(stream) + encode_frame(0, PING, None, b"12345678"))
            _serve_all(replica)
            far.recv(65536)
        near.close()
        far.close()
        sys.modules.pop(_MODULE)


def _serve_all(replica):
    replica.reader.pump()
    while not replica.jobs.empty():
        replica.run_next_job()


def _specialise():
    meta = {
        "function": "exercise",
        "uid": "0",
        "revision": 1,
        "handler": _MODULE + ".handler",
        "concurrency": 1,
        "timeoutMs": 30000,
        "memoryMiB": 256,
    }
    return encode_frame(0, SPECIALISE, meta, pack_u32(2) + b"{}" + _CODE)


def _call(stream):
    meta = {
        "id": "exercise",
        "method": "POST",
        "path": "/invoke",
        "query": {"stream": "1"} if stream == 2 else {},
        "headers": {"host": "localhost", "content-type": "application/json"},
        "trigger": {"type": "invoke"},
        "timeoutMs": 30000,
    }
    return encode_frame(stream, CALL, meta, b'{"key":"value","data":[1,2,3]}')
