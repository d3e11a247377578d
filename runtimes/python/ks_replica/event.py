"""The event that a handler gets."""

from binascii import b2a_base64

from .strict_json import load_json

_UTF8_CHARSETS = ("utf-8", "us-ascii")


class InvalidBody(Exception):
    """The body is not what its content type says."""


class Event(dict):
    """The documented object; `rawBody`, the exact bytes, can be read from it without being listed in it."""

    __slots__ = ("_raw_body",)

    def __missing__(self, key):
        if key == "rawBody":
            return self._raw_body
        raise KeyError(key)

    def __contains__(self, key):
        return key == "rawBody" or dict.__contains__(self, key)

    def get(self, key, default=None):
        """As of a dict, `rawBody` included."""
        if key == "rawBody":
            return self._raw_body
        return dict.get(self, key, default)


def build_event(meta, raw_body):
    """The event of a call, from the meta of its CALL frame and its collected body."""
    trigger = meta["trigger"]
    headers = meta["headers"]
    body, is_base64 = _read_body(raw_body, headers, trigger)
    event = Event(
        body=body,
        headers=headers,
        method=meta["method"],
        path=meta["path"],
        query=meta["query"],
        isBase64Encoded=is_base64,
        params=meta.get("params") or {},
        trigger=trigger,
        requestId=meta["id"],
    )
    event._raw_body = raw_body
    return event


def _read_body(raw, headers, trigger):
    if not raw:
        return ({} if trigger.get("type") == "invoke" else None), False
    # A compressed body, say, is bytes whatever it holds.
    if headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        return _binary(raw)
    content_type = headers.get("content-type")
    if content_type is None or not content_type.strip():
        return _read_untyped(raw)
    essence, _, parameters = content_type.partition(";")
    essence = essence.strip().lower()
    if essence == "application/json" or (essence.endswith("+json") and "/" in essence):
        try:
            return load_json(raw), False
        except ValueError as error:
            raise InvalidBody("Invalid request body") from error
    if essence == "application/x-www-form-urlencoded" or essence.startswith("text/"):
        return _read_text(raw) if _is_utf8_charset(parameters) else _binary(raw)
    return _binary(raw)


def _read_untyped(raw):
    try:
        return load_json(raw), False
    except ValueError:
        return _read_text(raw)


def _read_text(raw):
    try:
        return raw.decode("utf-8"), False
    except UnicodeDecodeError:
        return _binary(raw)


def _binary(raw):
    return b2a_base64(raw, newline=False).decode("ascii"), True


def _is_utf8_charset(parameters):
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower() in _UTF8_CHARSETS
    return True
