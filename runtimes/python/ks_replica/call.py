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

    def __init__(self, replica, stream, meta):
        self._replica = replica
        self._connection = replica.connection
        self.stream = stream
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
        if self._uncredited > WINDOW:
            raise ProtocolError("more DATA than was allowed")
        if more and self._uncredited >= _CREDIT_STEP:
            self._connection.send(self.stream, CREDIT, None, pack_u32(self._uncredited))
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
        is_long = len(body) > MAX_BODY
        if not self._send_head(response, response.kind, duration_ms, body[:MAX_BODY] if is_long else body, is_long):
            return
        if is_long:
            self._body = memoryview(body)[MAX_BODY:]
            self._pump()
        else:
            self._finish()

    def begin_stream(self, response, kind, duration_ms, piece):
        """Sends the head of a stream with its first piece, which is at most one frame long; tells whether it could."""
        return self._send_head(response, kind, duration_ms, piece, True)

    def send_piece(self, piece):
        """Sends a piece of a stream for which there is credit."""
        self._sent += len(piece)
        self._connection.send(self.stream, DATA | MORE, None, piece)

    def end_stream(self):
        """Ends a stream as it should."""
        self._end_logs()
        self._connection.send(self.stream, DATA)
        self._finish()

    def abort_stream(self, message):
        """Breaks off a response that has begun."""
        self._end_logs()
        self._connection.send(self.stream, ABORT, {"message": cut(message, 4096)})
        self._finish()

    def fail(self, code, described, duration_ms):
        """Sends ERROR instead of a response."""
        self._end_logs()
        meta = {"code": code, "durationMs": duration_ms}
        meta.update(described)
        if len(dump_json(meta)) > _MAX_META_BYTES:
            # Control characters take six bytes each in JSON.
            meta["message"] = cut(meta["message"], 2048)
            meta["stack"] = cut(meta.get("stack", ""), 8192)
        self._connection.send(self.stream, ERROR, meta)
        self._finish()

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

    def _send_head(self, response, kind, duration_ms, piece, more):
        meta = {"kind": kind, "durationMs": duration_ms}
        if response.headers:
            meta["headers"] = response.headers
            size = len(dump_json(meta))
            if size > _MAX_META_BYTES:
                self.fail("FUNCTION_ERROR", {"type": "ValueError", "message": "The response's headers take %d bytes" % size}, duration_ms)
                return False
        self._end_logs()
        self._connection.send(self.stream, response.status | (MORE if more else 0), meta, piece)
        return True

    def _end_logs(self):
        self._replica.logs.end_call(self)

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
        rest = self._body[size:]
        self._body = rest if len(rest) else None
        self._sent += size
        self._connection.send(self.stream, DATA | (MORE if len(rest) else 0), None, piece)
        if not len(rest):
            self._finish()

    def _finish(self):
        self.is_running = False
        self._replica.end_call(self)
