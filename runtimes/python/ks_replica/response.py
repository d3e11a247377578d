"""What a handler returned, as the head and body of a response."""

import re
from binascii import a2b_base64

from .errors import cut
from .strict_json import dump_json

MAX_BODY_BYTES = 6 * 1024 * 1024

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?").fullmatch
_BYTES = (bytes, bytearray, memoryview)


class InvalidResponse(Exception):
    """What the handler returned cannot be sent; `code` is the one of the ERROR frame."""

    def __init__(self, message, code="FUNCTION_ERROR", type_name="TypeError"):
        Exception.__init__(self, message)
        self.code = code
        self.type_name = type_name


class ReturnedError(Exception):
    """The handler returned an exception where it might have raised it."""

    def __init__(self, error):
        Exception.__init__(self, type(error).__name__)
        self.error = error


class Response:
    """A head, and a body that is bytes, or an iterator of pieces (`is_stream`)."""

    __slots__ = ("status", "kind", "headers", "body", "is_stream")

    def __init__(self, status, headers, kind, body, is_stream=False):
        self.status = status
        self.headers = headers
        self.kind = kind
        self.body = body
        self.is_stream = is_stream


def build_response(result):
    """The response for a returned value; raises InvalidResponse for what cannot be sent, or ReturnedError."""
    if isinstance(result, dict) and "statusCode" in result:
        status = _read_status(result["statusCode"])
        if status is not None:
            return _build_from_dict(status, result)
        if "body" in result or "headers" in result:
            raise InvalidResponse(
                "statusCode must be an integer from 200 to 599, got %s" % _show(result["statusCode"])
            )
    return _with_body(200, [], result, False) if result is not None else Response(200, [], "json", b"null")


def _build_from_dict(status, result):
    headers = _read_headers(result)
    body = result.get("body")
    if body is None:
        return Response(status, headers, "none", b"")
    return _with_body(status, headers, body, result.get("isBase64Encoded") is True)


def _with_body(status, headers, body, is_base64):
    if isinstance(body, str):
        if is_base64:
            return _checked(Response(status, headers, "binary", _decode_base64(body)))
        return _checked(Response(status, headers, "text", encode_text(body)))
    if isinstance(body, _BYTES):
        return _checked(Response(status, headers, "binary", bytes(body)))
    if is_stream(body):
        return Response(status, headers, "text", body, True)
    if isinstance(body, BaseException):
        raise ReturnedError(body)
    return _checked(Response(status, headers, "json", _encode_json(body)))


def _checked(response):
    size = len(response.body)
    if size > MAX_BODY_BYTES:
        raise InvalidResponse(
            "The response has %d bytes, the limit is %d: return a generator instead" % (size, MAX_BODY_BYTES),
            "RESPONSE_TOO_LARGE",
            "ResponseTooLarge",
        )
    return response


def _encode_json(value):
    try:
        return dump_json(value)
    except (TypeError, ValueError) as error:
        raise InvalidResponse(str(error), type_name=type(error).__name__) from error
    except RecursionError as error:
        raise InvalidResponse("The returned value is nested too deeply for JSON", type_name="RecursionError") from error


def encode_text(text):
    """A string as UTF-8, with U+FFFD for a surrogate that stands alone."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode("utf-8")


def encode_piece(piece):
    """A piece of a stream as (kind, bytes)."""
    if isinstance(piece, str):
        return "text", encode_text(piece)
    if isinstance(piece, _BYTES):
        return "binary", bytes(piece)
    raise InvalidResponse("a stream's pieces must be str or bytes, got %s" % _show(piece))


def is_stream(value):
    """Whether the value is an iterator, sync or async: a generator, an open file, a map."""
    cls = type(value)
    return hasattr(cls, "__next__") or hasattr(cls, "__anext__") or hasattr(cls, "__aiter__")


def _decode_base64(text):
    if not _BASE64(text):
        raise InvalidResponse("isBase64Encoded is true, but the body is not base64", type_name="ValueError")
    return a2b_base64(text)


def _read_status(value):
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    return int(value) if isinstance(value, int) and 200 <= value <= 599 else None


def _show(value):
    if value is None or isinstance(value, (str, bool, int, float)):
        return cut(dump_json(value).decode("utf-8"), 200)
    return "a list" if isinstance(value, (list, tuple)) else "a value of type %s" % type(value).__name__


def _read_headers(result):
    flat = []
    for field in ("headers", "multiValueHeaders"):
        headers = result.get(field)
        if headers is None:
            continue
        if not isinstance(headers, dict):
            raise InvalidResponse("%s must be an object, got %s" % (field, _show(headers)))
        for name, value in headers.items():
            _add_header(flat, name, value)
    cookies = result.get("cookies")
    if cookies is not None:
        _add_cookies(flat, cookies)
    return flat


def _add_cookies(flat, cookies):
    if not isinstance(cookies, (list, tuple)):
        raise InvalidResponse("cookies must be a list of strings, got %s" % _show(cookies))
    for cookie in cookies:
        if not isinstance(cookie, str):
            raise InvalidResponse("cookies must be a list of strings, got %s in it" % _show(cookie))
        flat += ("set-cookie", cookie)


def _add_header(flat, name, value):
    if not isinstance(name, str):
        raise InvalidResponse("the name of a header must be a string, got %s" % _show(name))
    for item in value if isinstance(value, (list, tuple)) else (value,):
        if item is None:
            continue
        if isinstance(item, bool):
            item = "true" if item else "false"
        elif isinstance(item, float):
            item = _show_number(item)
        elif isinstance(item, int):
            item = int.__repr__(item)
        elif not isinstance(item, str):
            raise InvalidResponse(
                'header "%s" must be a string, number, boolean or a list of them, got %s' % (name, _show(item))
            )
        flat += (name, item)


def _show_number(value):
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
