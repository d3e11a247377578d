"""Frames of the replica protocol, read and written."""

from struct import Struct

from .strict_json import dump_json, load_json

HELLO = 1
SPECIALISE = 2
READY = 3
FAILED = 4
CALL = 5
DATA = 6
CREDIT = 7
CANCEL = 8
ABORT = 9
ERROR = 10
LOG = 11
PING = 12
PONG = 13
DRAIN = 14
BUSY = 15
CHALLENGE = 16
PROOF = 17
TOKEN = 18
CLAIM = 19
ANSWER = 20
TAKEN = 21

MORE = 0x8000
MAX_LENGTH = 4 * 1024 * 1024
MAX_BODY = 65536
WINDOW = 262144

_HEAD = Struct("!IIHH")
_U32 = Struct("!I")
_new_head = _HEAD.pack
_read_head = _HEAD.unpack_from
_LENGTH_SIZE = 4
_REST_OF_HEAD = 8
_HEAD_SIZE = 12

pack_u32 = _U32.pack


def unpack_u32(data):
    """Reads the `u32` that the data begins with."""
    if len(data) < 4:
        raise ProtocolError("a u32 has 4 bytes")
    return _U32.unpack_from(data)[0]


class ProtocolError(Exception):
    """The other side broke a rule of the protocol."""


def encode_frame(stream, kind, meta=None, body=b""):
    """One frame as bytes; `meta` is a dict, JSON as bytes, or None."""
    meta_bytes = meta if type(meta) is bytes else dump_json(meta) if meta else b""
    length = _REST_OF_HEAD + len(meta_bytes) + len(body)
    return _new_head(length, stream, kind, len(meta_bytes)) + meta_bytes + body


class Decoder:
    """Cuts a byte stream into frames."""

    def __init__(self):
        self.max_length = MAX_LENGTH
        self._pieces = []
        self._have = 0
        self._need = _LENGTH_SIZE

    def feed(self, data):
        """The frames that end within `data`, each as (stream, kind, meta, body)."""
        if self._pieces:
            # A large frame is joined once, when the last of it is here.
            self._pieces.append(data)
            self._have += len(data)
            if self._have < self._need:
                return ()
            data = b"".join(self._pieces)
            self._pieces = []
        frames = []
        at = 0
        size = len(data)
        while True:
            if size - at < _HEAD_SIZE:
                self._need = _HEAD_SIZE if size - at >= _LENGTH_SIZE else _LENGTH_SIZE
                # A length that cannot be is refused without waiting for what it would belong to.
                if size - at >= _LENGTH_SIZE:
                    self._check_length(unpack_u32(data[at : at + _LENGTH_SIZE]))
                break
            length, stream, kind, meta_length = _read_head(data, at)
            body_length = length - _REST_OF_HEAD - meta_length
            self._check_length(length)
            _check_rest(kind, body_length)
            end = at + _LENGTH_SIZE + length
            if end > size:
                self._need = end - at
                break
            body_at = at + _HEAD_SIZE + meta_length
            frames.append((stream, kind, _read_meta(data[at + _HEAD_SIZE : body_at]), data[body_at:end]))
            at = end
        if at < size:
            self._pieces.append(data[at:] if at else data)
            self._have = size - at
        return frames

    def _check_length(self, length):
        if not _REST_OF_HEAD <= length <= self.max_length:
            raise ProtocolError("a frame of %d bytes" % length)


def _check_rest(kind, body_length):
    if body_length < 0 or (body_length > MAX_BODY and kind != SPECIALISE):
        raise ProtocolError("a body of %d bytes" % body_length)
    number = kind & ~MORE
    if not (1 <= number <= 99 or 200 <= number <= 599):
        raise ProtocolError("a frame of kind %d" % number)


def _read_meta(data):
    if not data:
        return {}
    try:
        meta = load_json(data)
    except ValueError as error:
        raise ProtocolError("meta that is not JSON") from error
    if type(meta) is not dict:
        raise ProtocolError("meta that is not an object")
    return meta
