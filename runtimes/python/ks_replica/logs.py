"""What a function prints, sent as LOG frames that name the call."""

import os
import sys
import threading
from _thread import allocate_lock
from collections import deque
from contextvars import ContextVar
from io import RawIOBase, TextIOWrapper
from time import sleep, time

from .frames import LOG, MAX_BODY

_MAX_LINE_BYTES = 65536
_MAX_PENDING_BYTES = 1024 * 1024
_FLUSH_BYTES = 32768
_PATIENCE_S = 0.05
_write = os.write
_current_thread = threading.current_thread

current_call = ContextVar("kube_serverless_call", default=None)


class _Line:
    """A line whose end has not been printed yet."""

    __slots__ = ("data", "is_cut")

    def __init__(self):
        self.data = bytearray()
        self.is_cut = False

    def add(self, data):
        self.data += data
        if len(self.data) > _MAX_LINE_BYTES:
            self.is_cut = True
            del self.data[_MAX_LINE_BYTES:]


class _PrintStream(RawIOBase):
    """The binary stream below `sys.stdout` or `sys.stderr`."""

    def __init__(self, logs, name, descriptor):
        RawIOBase.__init__(self)
        self._logs = logs
        self._stream_name = name
        self._descriptor = descriptor

    def writable(self):
        return True

    def fileno(self):
        # Child processes that are given this stream write to the pipe behind it.
        return self._descriptor

    def write(self, data):
        data = bytes(data)
        if self._logs.is_direct:
            return _write(self._descriptor, data)
        if data:
            self._logs.add(self._stream_name, data)
        return len(data)


class Logs:
    """Collects lines, each with its call, and sends those of one turn in one frame."""

    def __init__(self, calls, wake):
        # Takes what no call prints: the newest one, None while there is none.
        self.connection = None
        # In a pod its own output: `write(name, request_id, lines, is_cut)`.
        self.output = None
        self._calls = calls
        self._wake = wake
        self._lines = {}
        self._entries = deque()
        self._pending_bytes = 0
        self._dropped = 0
        self._is_patient = True
        self._flushing = allocate_lock()
        self.is_direct = False

    def install(self):
        """Makes `sys.stdout` and `sys.stderr` print here."""
        sys.stdout = sys.__stdout__ = self._open("stdout", 1)
        sys.stderr = sys.__stderr__ = self._open("stderr", 2)

    def _open(self, name, descriptor):
        # Without a buffer in between each write is seen in the thread and context of its call.
        stream = TextIOWrapper(
            _PrintStream(self, name, descriptor), encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True
        )
        stream.mode = "w"
        return stream

    @property
    def is_empty(self):
        """Whether there is nothing to send."""
        return not self._entries and not self._dropped

    def add(self, name, data):
        """Takes what was printed, whole lines or not."""
        # hot: `print` writes each of its arguments, spaces and the end of the line by itself.
        call = current_call.get() or self._guess_call()
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            self._end_line(call, name, head)
        if tail:
            line = self._lines.get((call, name))
            if line is None:
                line = self._lines[(call, name)] = _Line()
            line.add(tail)
        if not newline:
            return
        if self._pending_bytes > _FLUSH_BYTES:
            self.flush()
        self._wake()

    def _end_line(self, call, name, data):
        """Takes whole lines, the first of which may have begun before."""
        line = self._lines.pop((call, name), None)
        if line is None:
            self._append_lines(call, name, data)
            return
        first, newline, rest = data.partition(b"\n")
        line.add(first)
        self._append(call, name, bytes(line.data), line.is_cut)
        if newline:
            self._append_lines(call, name, rest)

    def end_call(self, call):
        """Sends everything that the call printed."""
        if self._lines:
            self._end_lines(call)
        if self._entries:
            self.flush()

    def _end_lines(self, call):
        for name in ("stdout", "stderr"):
            line = self._lines.pop((call, name), None)
            if line is not None:
                self._append(call, name, bytes(line.data), line.is_cut)

    @property
    def _is_backlogged(self):
        return self.connection is not None and self.connection.is_backlogged

    def flush(self):
        """Sends the whole lines, unless the gateway is behind."""
        while not self.is_empty and not self._is_backlogged and self._flushing.acquire(False):
            try:
                self._send_entries()
            finally:
                self._flushing.release()

    def _append_lines(self, call, name, data):
        if len(data) <= _MAX_LINE_BYTES:
            self._append(call, name, data, False)
            return
        for line in data.split(b"\n"):
            self._append(call, name, line[:_MAX_LINE_BYTES], len(line) > _MAX_LINE_BYTES)

    def _append(self, call, name, data, is_cut):
        if self._pending_bytes > _MAX_PENDING_BYTES and not self._has_room():
            self._dropped += data.count(b"\n") + 1
            return
        self._pending_bytes += len(data) + 1
        self._entries.append((call, name, is_cut, int(time() * 1000), data))

    def _has_room(self):
        if not self._is_patient and self._is_backlogged:
            return False
        self.flush()
        if self._is_patient:
            end = time() + _PATIENCE_S
            while self._entries and time() < end:
                sleep(0.002)
                self.flush()
        # Having waited once in vain, lines are dropped at once until the gateway reads again.
        self._is_patient = self._pending_bytes <= _MAX_PENDING_BYTES
        return self._is_patient

    def _send_entries(self):
        entries = self._entries
        while entries and not self._is_backlogged:
            call, name, is_cut, time_ms, data = entries.popleft()
            pieces = [data]
            size = len(data)
            while entries and entries[0][:3] == (call, name, is_cut) and not is_cut:
                size += 1 + len(entries[0][4])
                if size > MAX_BODY:
                    break
                pieces.append(entries.popleft()[4])
            self._send(call, name, is_cut, time_ms, b"\n".join(pieces))
        if not entries:
            self._pending_bytes = 0
            self._is_patient = True
            if self._dropped:
                count, self._dropped = self._dropped, 0
                meta = {"stream": "stderr", "timeMs": int(time() * 1000), "dropped": count}
                if self.connection is not None:
                    self.connection.send(0, LOG, meta, b"dropped: %d" % count)

    def _send(self, call, name, is_cut, time_ms, data):
        data = _as_utf8(data)
        if self.output is not None:
            self.output.write(name, None if call is None else call.request_id, data, is_cut)
        connection = self.connection if call is None else call.connection
        if connection is None:
            return
        meta = {"stream": name, "timeMs": time_ms}
        stream = 0
        if call is not None:
            meta["requestId"] = call.request_id
            stream = call.stream if call.is_running else 0
        if is_cut:
            meta["truncated"] = True
        connection.send(stream, LOG, meta, data)

    def _guess_call(self):
        inherited = _current_thread().__dict__.get("_kube_serverless_call")
        if inherited is not None and inherited.is_running:
            return inherited
        try:
            running = [call for call in self._calls.values() if call.is_running]
        except RuntimeError:
            return inherited
        # A thread of a pool may be older than the call that it works for.
        return running[0] if len(running) == 1 else inherited


def _as_utf8(data):
    try:
        data.decode("utf-8")
        return data
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace").encode("utf-8")
        return text if len(text) <= MAX_BODY else text[:MAX_BODY].decode("utf-8", "ignore").encode("utf-8")


def follow_threads():
    """Makes a thread remember the call that started it, so that what it prints is found under that call."""
    start = threading.Thread.start

    def start_with_call(self):
        parent = _current_thread().__dict__.get("_kube_serverless_call")
        self.__dict__["_kube_serverless_call"] = current_call.get() or parent
        return start(self)

    threading.Thread.start = start_with_call
