"""The frame socket: whoever has nothing else to do reads it, whoever has something to say writes it; nobody blocks on writing."""

import os
from _socket import MSG_DONTWAIT
from _thread import allocate_lock, start_new_thread
from collections import deque
from select import POLLIN, POLLOUT, poll
from time import monotonic

from .frames import Decoder, ProtocolError, encode_frame

_RECEIVE_BYTES = 65536
_BACKLOG_FRAMES = 32
_LAST_RESORT_S = 10

_exit_process = os._exit
_write = os.write


class Connection:
    """One connected stream socket; `on_frame(connection, stream, kind, meta, body)` is called by the thread that reads.

    `number` tells the connections of a pod apart; standalone there is one. How it ends is a matter of `_ended` and `_broken`.
    """

    def __init__(self, sock, on_frame, number=0):
        # Streams are numbered by each gateway; a call's key holds for the whole replica.
        self.base = number << 32
        self._sock = sock
        self._fd = sock.fileno()
        self._receive = sock.recv
        self._transmit = sock.send
        self._on_frame = on_frame
        self._decoder = Decoder()
        self.reading = allocate_lock()
        self._writing = allocate_lock()
        self._outbox = deque()
        self._rest = None
        self._has_writer = False
        self._writer_gate = allocate_lock()
        self._writer_gate.acquire()
        self.is_open = True
        self.last_stream = 0

    def pump(self):
        """Receives once and hands on the frames that it completes; the caller holds `reading`."""
        try:
            data = self._receive(_RECEIVE_BYTES)
        except OSError as error:
            # What a signal handler of the function raises in here, such as TimeoutError, has no number.
            if error.errno is None:
                raise
            data = b""
        if not data:
            self._ended()
            return
        try:
            for stream, kind, meta, body in self._decoder.feed(data):
                self._on_frame(self, stream, kind, meta, body)
        except ProtocolError as error:
            self._broken("the gateway sent %s" % error)
        except BaseException as error:
            # A frame is half done, so nothing that follows could be trusted.
            _leave("%s: %s" % (type(error).__name__, error))

    def _ended(self):
        _exit_process(0)

    def _lost(self):
        """Nothing can be sent any more; not called by the thread that reads."""
        _exit_process(0)

    def _broken(self, reason):
        _leave(reason)

    def wait_readable(self, timeout_ms):
        """Whether there is something to receive, waiting so long for it."""
        poller = poll()
        poller.register(self._fd, POLLIN)
        return bool(poller.poll(timeout_ms))

    def send(self, stream, kind, meta=None, body=b""):
        """Sends a frame without blocking; what the socket does not take yet is sent by a thread of its own."""
        self._outbox.append(encode_frame(stream, kind, meta, body))
        self._drain()

    @property
    def is_backlogged(self):
        """Whether the gateway is behind with reading."""
        return len(self._outbox) > _BACKLOG_FRAMES

    def flush(self, timeout_s):
        """Waits until everything is sent, or the time is over."""
        end = monotonic() + timeout_s
        while self.is_open and (self._outbox or self._rest) and monotonic() < end:
            self._wait_writable(50)
            self._drain()

    def abandon(self):
        """In a forked child: the socket belongs to the parent."""
        self.is_open = False
        self._outbox.clear()
        self._sock.close()

    def _drain(self):
        # Who finds the lock taken leaves: its holder looks into the outbox again after letting go. So neither a
        # signal handler nor a finaliser that prints in the middle of this can wait for itself.
        while (self._outbox or self._rest) and self.is_open and self._writing.acquire(False):
            try:
                took_all = self._transmit_outbox()
            finally:
                self._writing.release()
            if not took_all:
                self._wake_writer()
                return

    def _transmit_outbox(self):
        outbox = self._outbox
        while True:
            data = self._rest
            if data is None:
                if not outbox:
                    return True
                data = outbox.popleft()
                if outbox:
                    data = _gather(data, outbox)
            try:
                sent = self._transmit(data, MSG_DONTWAIT)
            except BlockingIOError:
                self._rest = data
                return False
            except OSError:
                self._lost()
                return True
            self._rest = None if sent == len(data) else memoryview(data)[sent:]

    def _wake_writer(self):
        if not self._has_writer:
            try:
                start_new_thread(self._write_when_possible, ())
                self._has_writer = True
            except RuntimeError:
                # The function has used up its processes; waiting here is what is left.
                self.flush(_LAST_RESORT_S)
                return
        try:
            self._writer_gate.release()
        except RuntimeError:
            pass  # It is awake already.

    def _write_when_possible(self):
        while True:
            self._writer_gate.acquire()
            while self.is_open and (self._outbox or self._rest):
                self._wait_writable(None)
                self._drain()

    def _wait_writable(self, timeout_ms):
        poller = poll()
        poller.register(self._fd, POLLOUT)
        poller.poll(timeout_ms)


def _leave(reason):
    _write(2, ("replica: %s\n" % reason).encode("utf-8", "backslashreplace"))
    _exit_process(1)


def _gather(first, outbox):
    """Joins frames that wait, so that they take one system call."""
    pieces = [first]
    size = len(first)
    try:
        while size < _RECEIVE_BYTES:
            pieces.append(outbox.popleft())
            size += len(pieces[-1])
    except IndexError:
        pass
    return b"".join(pieces)
