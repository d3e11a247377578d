"""One call: its request as it arrives, its response as it leaves."""

from _thread import allocate_lock

from .errors import cut
from .frames import ABORT, CREDIT, DATA, ERROR, MAX_BODY, MORE, WINDOW, ProtocolError, pack_u32
from .strict_json import dump_json

MAX_REQUEST_BYTES = 6 * 1024 * 1024 + 64 * 1024
_MAX_META_BYTES = 65535
_CREDIT_STEP = WINDOW // 2


class Call:
    """The replica's side of one stream."""

    def __init__(self, replica, connection, stream, meta):
        self._replica = replica
        self.connection = connection
        self.stream = stream
        self.key = connection.base + stream
        self.meta = meta
        self.request_id = meta.get("id")
        self.context = None
        self.is_running = False
        self.is_cancelled = False
        self._pieces = []
        self._received = 0
        self._is_whole = False
        self._uncredited = 0
        # Two counters, each written by one thread alone.
        self._allowed = WINDOW
        self._sent = 0
        self._body = None
        self._pumping = allocate_lock()
        self._on_credit = None

    # The request.

    def add(self, piece, more):
        """A piece of the request body; tells whether it is whole."""
        self._pieces.append(piece)
        self._received += len(piece)
        if self._received > MAX_REQUEST_BYTES:
            raise ProtocolError("a request body of more than %d bytes" % MAX_REQUEST_BYTES)
        self._is_whole = not more
        return self._is_whole

    def add_data(self, piece, more):
        """A piece that came in a DATA frame, which takes credit."""
        if self._is_whole:
            raise ProtocolError("DATA after the end of a body")
        self._uncredited += len(piece)
        if more and self._uncredited >= _CREDIT_STEP:
            self.connection.send(self.stream, CREDIT, None, pack_u32(self._uncredited))
            self._uncredited = 0
        return self.add(piece, more)

    def take_body(self):
        """The request body; it is kept by the event alone from now on."""
        pieces, self._pieces = self._pieces, ()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def cancel(self):
        """The caller is gone."""
        self.is_cancelled = True
        if not self._is_whole:
            # The rest of the body will not come, so the handler never starts.
            self.fail("INVALID_REQUEST", {"type": "InvalidBody", "message": "Invalid request body"}, 0)
            return
        if self.context is not None:
            self.context.signal._abort()
        self._pump()
        self._tell_waiting()

    # The response, each of these called by the thread that runs the call.

    def respond(self, response, duration_ms):
        """Sends a whole response; what exceeds the credit follows as credit comes."""
        body = response.body
        meta = self._build_head(response, response.kind, duration_ms)
        if meta is None:
            return
        if len(body) <= MAX_BODY:
            self._send_last(response.status, meta, body)
            return
        self.connection.send(self.stream, response.status | MORE, meta, body[:MAX_BODY])
        self._body = memoryview(body)[MAX_BODY:]
        self._pump()

    def begin_stream(self, response, kind, duration_ms, piece):
        """Sends the head of a stream with its first piece, which is at most one frame long; tells whether it could."""
        meta = self._build_head(response, kind, duration_ms)
        if meta is not None:
            self.connection.send(self.stream, response.status | MORE, meta, piece)
        return meta is not None

    def send_piece(self, piece):
        """Sends a piece of a stream for which there is credit."""
        self._sent += len(piece)
        self.connection.send(self.stream, DATA | MORE, None, piece)

    def end_stream(self):
        """Ends a stream as it should."""
        self._send_last(DATA)

    def abort_stream(self, message):
        """Breaks off a response that has begun."""
        self._send_last(ABORT, {"message": cut(message, 4096)})

    def fail(self, code, described, duration_ms):
        """Sends ERROR instead of a response."""
        meta = {"code": code, "durationMs": duration_ms}
        meta.update(described)
        if len(dump_json(meta)) > _MAX_META_BYTES:
            # Control characters take six bytes each in JSON.
            meta["message"] = cut(meta["message"], 2048)
            meta["stack"] = cut(meta.get("stack", ""), 8192)
        self._send_last(ERROR, meta)

    @property
    def room(self):
        """How many bytes of DATA may be sent."""
        return self._allowed - self._sent

    def add_credit(self, count):
        """The gateway takes so many more bytes."""
        self._allowed += count
        self._pump()
        self._tell_waiting()

    def notify_credit(self, callback):
        """Calls back, from the thread that reads, at the next credit or cancellation."""
        self._on_credit = callback

    def _tell_waiting(self):
        callback, self._on_credit = self._on_credit, None
        if callback is not None:
            callback()

    def _build_head(self, response, kind, duration_ms):
        meta = b'{"kind":"%b","durationMs":%b' % (kind.encode(), repr(duration_ms).encode())
        meta += b',"headers":%b}' % dump_json(response.headers) if response.headers else b"}"
        if len(meta) <= _MAX_META_BYTES:
            return meta
        message = "the response's headers are longer than %d bytes" % _MAX_META_BYTES
        self.fail("FUNCTION_ERROR", {"type": "ValueError", "message": message}, duration_ms)
        return None

    def _send_last(self, kind, meta=None, body=b""):
        """Sends the frame that ends the answer, behind everything that was printed."""
        replica = self._replica
        replica.logs.end_call(self)
        self.is_running = False
        # The next call may be here before this thread goes on, and must find the place free.
        replica.free_place(self)
        self.connection.send(self.stream, kind, meta, body)
        replica.end_call(self)

    def _pump(self):
        # The handler's thread and the one that reads may both be here; who finds the lock taken leaves the work to the other.
        while self._can_pump() and self._pumping.acquire(False):
            try:
                while self._can_pump():
                    self._send_rest()
            finally:
                self._pumping.release()

    def _can_pump(self):
        return self._body is not None and (self.is_cancelled or self.room > 0)

    def _send_rest(self):
        if self.is_cancelled:
            self._body = None
            self.abort_stream("the caller went away")
            return
        size = min(MAX_BODY, self.room, len(self._body))
        piece = self._body[:size]
        if size == len(self._body):
            self._body = None
            self._send_last(DATA, None, piece)
        else:
            self._body = self._body[size:]
            self.send_piece(piece)
