"""The pod's own output, for the cluster's collectors: a JSON object a line. It never waits for whoever reads it."""

import os
import stat
from time import gmtime, strftime, time

from .strict_json import dump_json

_write = os.write
_time = time


class PodOutput:
    """Lines on a descriptor; those that are not taken are dropped and counted."""

    def __init__(self, descriptor):
        self._descriptor = _open_without_waiting(descriptor)
        self._rest = b""
        self._dropped = 0
        self._facts = {}

    def specialise(self, name, revision):
        """From now on lines name the function."""
        self._facts = {"function": name, "revision": revision}

    def write(self, stream, request_id, lines, is_cut):
        """Lines as UTF-8, parted by newlines."""
        entry = {"time": _format(_time()), "stream": stream}
        entry.update(self._facts)
        if request_id is not None:
            entry["requestId"] = request_id
        pieces = lines.decode("utf-8", "replace").split("\n")
        if not self._send_rest() or not self._send_dropped(entry):
            self._dropped += len(pieces)
            return
        out = []
        for piece in pieces:
            line = dict(entry, message=piece)
            if is_cut:
                line["truncated"] = True
            out.append(dump_json(line))
        self._send(b"\n".join(out) + b"\n")

    def _send_dropped(self, entry):
        if self._dropped:
            line = dict(entry, stream="stderr", dropped=self._dropped)
            line.pop("requestId", None)
            self._dropped = 0
            self._send(dump_json(line) + b"\n")
        return not self._rest

    def _send_rest(self):
        if self._rest:
            rest, self._rest = self._rest, b""
            self._send(rest)
        return not self._rest

    def _send(self, data):
        try:
            while data:
                data = data[_write(self._descriptor, data) :]
        except BlockingIOError:
            self._rest = data
        except OSError:
            pass  # Nobody listens.


def _format(seconds):
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds)) + ".%03dZ" % int(seconds % 1 * 1000)


def _open_without_waiting(descriptor):
    """A pipe is opened once more, as its own descriptor must stay as it is for what the function itself starts."""
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return os.open("/proc/self/fd/%d" % descriptor, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        pass  # Not to be had: then it is written to as it is.
    return descriptor
