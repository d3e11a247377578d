"""The second argument of a handler."""

import time

_now = time.time


class Signal:
    """Tells a handler that its caller is gone."""

    __slots__ = ("aborted", "_event")

    def __init__(self):
        self.aborted = False
        self._event = None

    def is_set(self):
        """Whether the caller is gone."""
        return self.aborted

    def wait(self, timeout=None):
        """Waits up to `timeout` seconds for the caller to go; tells whether it has."""
        from threading import Event

        if self._event is None:
            self._event = Event()
        # The event is in place before this look, so an abort that came earlier is not missed.
        return self.aborted or self._event.wait(timeout)

    def _abort(self):
        self.aborted = True
        if self._event is not None:
            self._event.set()


class FunctionInfo:
    """What of a SPECIALISE frame every call's context shows."""

    def __init__(self, meta):
        self.name = str(meta.get("function", ""))
        self.revision = str(meta.get("revision", ""))
        # A string, as it is on AWS Lambda.
        self.memory_mib = str(meta.get("memoryMiB", ""))
        self.log_stream = "%s/%s" % (self.revision, meta.get("uid", ""))
        self.arn = "kube-serverless:%s:%s" % (self.name, self.revision)


class Context:
    """Names that handlers for AWS Lambda use, and `request_id`, `deadline`, `log`, `signal`."""

    __slots__ = ("_info", "request_id", "caller", "deadline", "signal", "__dict__")

    client_context = None
    identity = None

    def __init__(self, info, request_id, timeout_ms, caller=None):
        self._info = info
        self.request_id = request_id
        # A dictionary that says who called; None for who did not prove it.
        self.caller = caller
        # Milliseconds since 1970, as `Date.now()` counts them elsewhere.
        self.deadline = _now() * 1000 + timeout_ms
        self.signal = Signal()

    @property
    def function_name(self):
        return self._info.name

    @property
    def function_version(self):
        return self._info.revision

    @property
    def memory_limit_in_mb(self):
        return self._info.memory_mib

    @property
    def aws_request_id(self):
        return self.request_id

    @property
    def invoked_function_arn(self):
        return self._info.arn

    @property
    def log_group_name(self):
        return "/kube-serverless/" + self._info.name

    @property
    def log_stream_name(self):
        return self._info.log_stream

    def get_remaining_time_in_millis(self):
        """Milliseconds until the call's time-out, never below 0."""
        return max(0, int(self.deadline - _now() * 1000))

    def log(self, *values):
        """Prints the values as one line of the function's log."""
        print(*values)
