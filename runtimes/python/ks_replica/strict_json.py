"""JSON as every runtime of the platform reads and writes it.

Coders are made once and kept, so that a function that patches `json.dumps` cannot break the frames.
"""

import sys
from json import JSONDecoder, JSONEncoder
from json.encoder import c_make_encoder, encode_basestring

MAX_DEPTH = 512
_MAX_INT_DIGITS = 4300
_INFINITY = float("inf")


def _refuse_constant(name):
    raise ValueError("%s is not JSON" % name)


def _parse_int(digits):
    # Without a limit a few megabytes of digits hold the interpreter for minutes.
    if len(digits) > _MAX_INT_DIGITS:
        raise ValueError("an integer of %d digits" % len(digits))
    return int(digits)


# Newer versions of Python have the limit built in, and read integers faster without a callback.
_INT_LIMIT = {} if hasattr(sys, "get_int_max_str_digits") else {"parse_int": _parse_int}
_scan = JSONDecoder(parse_constant=_refuse_constant, **_INT_LIMIT).scan_once
_encoder = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_encode_slowly = _encoder.encode
_WHITESPACE = " \t\n\r"


def _encode_other(value):
    # Looked up each time, so that a function which patches JSONEncoder.default has its way with its own types.
    return JSONEncoder.default(_encoder, value)


def _make_fast_encoder():
    if c_make_encoder is None:
        return None
    # Made once and without the list of parents that finds cycles, which doubles the time of small values.
    return c_make_encoder(None, _encode_other, encode_basestring, None, ":", ",", False, False, False)


_encode_fast = _make_fast_encoder()


def _encode(value):
    if _encode_fast is not None:
        try:
            return "".join(_encode_fast(value, 0))
        except RecursionError:
            pass  # The slow way tells a cycle from a deep value.
    return _encode_slowly(value)


def load_json(data):
    """Reads strict JSON from bytes; raises ValueError for anything else."""
    try:
        text = data.decode("utf-8")
        if text[:1] in _WHITESPACE:
            text = text.lstrip(_WHITESPACE)
        value, end = _scan(text, 0)
    except (RecursionError, StopIteration):
        raise ValueError("not JSON, or too deep") from None
    if end != len(text) and text[end:].strip(_WHITESPACE):
        raise ValueError("something behind the JSON")
    # Counting brackets takes next to nothing, and most documents have too few of them to be deep.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise ValueError("deeper than %d" % MAX_DEPTH)
    return value


def _is_deep(value):
    level = [value] if type(value) in (dict, list) else []
    for _ in range(MAX_DEPTH):
        level = [item for parent in level for item in _items(parent) if type(item) is dict or type(item) is list]
        if not level:
            return False
    return True


def _items(container):
    return container.values() if type(container) is dict else container


def dump_json(value):
    """Writes compact JSON as UTF-8; a number that is not finite becomes null.

    Raises TypeError, ValueError or RecursionError for what JSON cannot carry.
    """
    try:
        text = _encode(value)
    except ValueError as error:
        if not str(error).startswith("Out of range float"):
            raise
        text = _encode(_without_non_finite(value, set()))
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # Of a lone surrogate this makes \udXXX, which is its JSON escape as well.
        return text.encode("utf-8", "backslashreplace")


def _is_non_finite(value):
    return isinstance(value, float) and (value != value or value in (_INFINITY, -_INFINITY))


def _without_non_finite(value, parents):
    if isinstance(value, float):
        return None if _is_non_finite(value) else value
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) in parents:
        raise ValueError("Circular reference detected")
    parents.add(id(value))
    if isinstance(value, dict):
        copy = {_key(key): _without_non_finite(item, parents) for key, item in value.items()}
    else:
        copy = [_without_non_finite(item, parents) for item in value]
    parents.discard(id(value))
    return copy


def _key(key):
    if not _is_non_finite(key):
        return key
    return "NaN" if key != key else "Infinity" if key > 0 else "-Infinity"
