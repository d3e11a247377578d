"""A replica: what each frame does, and who runs the calls."""

import atexit
import os
import sys
import time
from _queue import SimpleQueue
from _thread import start_new_thread
from contextvars import copy_context
from threading import Thread

from .blocking import BlockingMode, run_coroutine
from .call import Call
from .context import FunctionInfo
from .errors import cut, describe_error
from .frames import (
    BUSY,
    CALL,
    CANCEL,
    CREDIT,
    DATA,
    DRAIN,
    FAILED,
    HELLO,
    MORE,
    PING,
    PONG,
    READY,
    SPECIALISE,
    ProtocolError,
    unpack_u32,
)
from .loader import LoadFailure, load_handler
from .logs import Logs
from .serve import serve
from .strict_json import load_json
from .ticker import Ticker

PROTOCOL = 1
_FLUSH_S = 2
_KEPT_VARIABLES = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC"}
_exit_process = os._exit
_run_exit_functions = getattr(atexit, "_run_exitfuncs", None)


class _Specialisation:
    """The job of loading the function."""

    def __init__(self, connection, meta, body):
        self.connection = connection
        self.meta = meta
        size = unpack_u32(body)
        if 4 + size > len(body):
            raise ProtocolError("an environment longer than its frame")
        self.environment = load_json(body[4 : 4 + size]) if size else {}
        self.code = body[4 + size :]


class Replica:
    """Everything that one process knows; frames come in by `reader`, `run` is the main thread's life."""

    EXIT = object()

    def __init__(self):
        # What the frames come by: the one connection, or in a pod all of them.
        self.reader = None
        self.connections = []
        # In a pod its highest memory use, None where that is not known.
        self.read_peak_mib = None
        self.calls = {}
        self._answering = {}
        self.jobs = SimpleQueue()
        self.on_job = None
        self.ticker = Ticker(self)
        self._mode = BlockingMode(self._read_for_credit)
        self.logs = Logs(self.calls, self.ticker.wake)
        self.handler = None
        self.info = None
        self.main_reads = True
        self.running_job = None
        self._is_specialised = False
        self._is_draining = False
        # Gateways that may still send calls, while the replica takes its leave.
        self._unaware = set()
        self._concurrency = 1
        self._actions = {
            DATA: self._on_data,
            CREDIT: self._on_credit,
            CANCEL: self._on_cancel,
            PING: self._on_ping,
            SPECIALISE: self._on_specialise,
            DRAIN: self._on_drain,
        }

    @property
    def is_specialised(self):
        """Whether it has its function, or is about to."""
        return self._is_specialised

    def attach(self, connection):
        """Serves one more gateway; what is printed outside of calls goes to the newest."""
        self.connections.append(connection)
        self.logs.connection = connection
        return connection

    def detach(self, connection):
        """The gateway is gone: nobody waits for its calls any more."""
        if connection in self.connections:
            self.connections.remove(connection)
        if self.logs.connection is connection:
            self.logs.connection = self.connections[-1] if self.connections else None
        self._unaware.discard(connection)
        for call in list(self.calls.values()):
            if call.connection is connection:
                call.cancel()
        self._exit_when_drained()

    def hello(self, connection, state=None):
        """Says what the replica is."""
        version = "%d.%d.%d" % sys.version_info[:3]
        meta = {"protocol": PROTOCOL, "language": "python", "version": version, "inFlight": len(self.calls)}
        meta.update(state or {})
        connection.send(0, HELLO, meta)

    def describe_state(self):
        """What HELLO says in a pod."""
        if not self._is_specialised:
            return {"state": "generic"}
        return {"state": "specialised", "function": self._facts.get("uid"), "revision": self._facts.get("revision")}

    # Frames, handled by the thread that reads.

    def on_frame(self, connection, stream, kind, meta, body):
        """One frame of a gateway."""
        number = kind & ~MORE
        if number == CALL:
            self._on_call(connection, stream, meta, body, kind != number)
        else:
            action = self._actions.get(number)
            if action is not None:
                action(connection, stream, meta, body, kind != number)

    def _on_call(self, connection, stream, meta, body, more):
        if not self._is_specialised:
            raise ProtocolError("CALL before SPECIALISE")
        if stream <= connection.last_stream:
            raise ProtocolError("stream %d again" % stream)
        connection.last_stream = stream
        if len(self.calls) >= self._concurrency or self._is_draining:
            connection.send(stream, BUSY)
            return
        call = Call(self, connection, stream, meta)
        self.calls[call.key] = call
        if call.add(body, more):
            self._submit(call)

    def _on_data(self, connection, stream, _meta, body, more):
        call = self.calls.get(connection.base + stream)
        if call is not None and call.add_data(body, more):
            self._submit(call)

    def _on_credit(self, connection, stream, _meta, body, _more):
        call = self.calls.get(connection.base + stream)
        if call is not None:
            call.add_credit(unpack_u32(body))

    def _on_cancel(self, connection, stream, _meta, _body, _more):
        call = self.calls.get(connection.base + stream)
        if call is not None:
            call.cancel()

    def _on_ping(self, connection, _stream, _meta, body, _more):
        self.pong(connection, body)

    def pong(self, connection, body):
        """Answers PING."""
        meta = {"inFlight": len(self.calls)}
        peak_mib = self.read_peak_mib and self.read_peak_mib()
        if peak_mib:
            meta["peakMiB"] = peak_mib
        connection.send(0, PONG, meta, body)

    def _on_specialise(self, connection, _stream, meta, body, _more):
        if self._is_specialised:
            raise ProtocolError("a second SPECIALISE")
        self._is_specialised = True
        self._facts = meta
        if self.logs.output is not None:
            self.logs.output.specialise(meta.get("function"), meta.get("revision"))
        self._concurrency = max(1, int(meta.get("concurrency", 1)))
        self._submit(_Specialisation(connection, meta, body))

    def _on_drain(self, connection, _stream, _meta, _body, _more):
        self._unaware.discard(connection)
        self._is_draining = True
        self._exit_when_drained()

    def leave(self):
        """The pod is to end: tells every gateway, so that no call gets lost, and ends when it is idle."""
        if self._is_draining:
            return
        self._is_draining = True
        if self._is_specialised:
            self._unaware = set(self.connections)
        for connection in list(self._unaware):
            connection.send(0, DRAIN)
        self._exit_when_drained()

    def leave_now(self):
        """Gateways that have not answered by now send no calls either."""
        self._unaware.clear()
        self._exit_when_drained()

    def _submit(self, job):
        self.jobs.put(job)
        if self.on_job is not None:
            self.on_job()

    def free_place(self, call):
        """The call is about to be answered; another may take its place."""
        self._answering[call.key] = call
        self.calls.pop(call.key, None)

    def end_call(self, call):
        """The call has its answer."""
        self._answering.pop(call.key, None)
        self._exit_when_drained()

    def _exit_when_drained(self):
        if self._is_draining and not self.calls and not self._answering and not self._unaware:
            self._submit(self.EXIT)

    # The main thread.

    def run(self):
        """Reads frames and runs what they ask for, one after the other, until the function wants it otherwise."""
        while True:
            try:
                while self.jobs.empty():
                    with self.reader.reading:
                        # The ticker may have read a job while this thread waited for its turn.
                        if self.jobs.empty():
                            self.reader.pump()
                self.run_next_job()
            except Exception as error:
                # A signal handler of the function may raise wherever this thread is.
                sys.excepthook(type(error), error, error.__traceback__)

    def run_next_job(self):
        """Runs what the frames that were read ask for first."""
        job = self.running_job = self.jobs.get()
        self.ticker.wake()
        if type(job) is Call:
            self.run_call(job, self._mode)
        elif job is self.EXIT:
            self.exit(0)
        else:
            self._specialise(job)
        self.running_job = None
        self._leave_if_forked()

    def run_call(self, call, mode):
        """Runs a call in this thread, with context variables of its own."""
        try:
            copy_context().run(run_coroutine, serve(call, self.handler, self.info, mode))
        except SystemExit as error:
            self.exit_like(error)
        except BaseException as error:
            if call.key not in self.calls:
                raise
            call.fail("FUNCTION_ERROR", describe_error(error), 0)

    def _read_for_credit(self, call):
        with self.reader.reading:
            if call.room <= 0 and not call.is_cancelled:
                self.reader.pump()

    def _specialise(self, job):
        started = time.perf_counter()
        try:
            set_environment(job.environment)
            self.handler = load_handler(str(job.meta.get("handler", "")), job.code)
            self.info = FunctionInfo(job.meta)
            uses_loop = self._uses_event_loop(job.code)
        except LoadFailure as failure:
            self._fail_to_load(job.connection, failure)
        self.logs.end_call(None)
        load_ms = round((time.perf_counter() - started) * 1000, 3)
        job.connection.send(0, READY, {"loadMs": load_ms})
        if uses_loop or self._concurrency > 1:
            self.main_reads = False
            self.running_job = None
        if uses_loop:
            from .event_loop import run_event_loop

            run_event_loop(self)
        elif self._concurrency > 1:
            self._run_threads()

    def _uses_event_loop(self, code):
        return self.handler.is_async and (self._concurrency > 1 or "asyncio" in sys.modules or b"asyncio" in code)

    def _fail_to_load(self, connection, failure):
        self.logs.end_call(None)
        connection.send(0, FAILED, {"reason": failure.reason, "message": cut(failure.message, 8192)})
        connection.flush(_FLUSH_S)
        _exit_process(1)

    def _run_threads(self):
        mode = BlockingMode()
        workers = [1]

        def work():
            while True:
                job = self.jobs.get()
                if job is self.EXIT:
                    self.exit(0)
                self.run_call(job, mode)
                job = None
                self._leave_if_forked()

        def add_workers():
            while workers[0] < min(self._concurrency, len(self.calls)):
                try:
                    Thread(target=work, name="call-%d" % (workers[0] + 1), daemon=True).start()
                except RuntimeError:
                    return  # The function has used up its processes: the threads there are take the call in turn.
                workers[0] += 1

        self.on_job = add_workers
        self.start_reader()
        # For calls that came while the code was loaded. The thread that reads may be in there as well: at worst
        # one thread too many is started.
        add_workers()
        work()

    def start_reader(self):
        """Lets a thread of its own read from now on."""
        start_new_thread(self._read_forever, ())

    def _read_forever(self):
        with self.reader.reading:
            while True:
                self.reader.pump()

    # The end.

    def exit_like(self, error):
        """Ends the process as an uncaught SystemExit does."""
        code = error.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
        self.exit(code or 0)

    def exit(self, code):
        """Runs what was registered with atexit, sends what waits, and ends the process."""
        try:
            if _run_exit_functions is not None:
                _run_exit_functions()
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        for call in [*self.calls.values(), None]:
            self.logs.end_call(call)
        for connection in list(self.connections):
            connection.flush(_FLUSH_S)
        _exit_process(code & 0xFF)

    def on_fork(self):
        """In a child that the function forked: it prints to the pipes and says nothing on the frame socket."""
        self.logs.is_direct = True
        self.reader.abandon()

    def _leave_if_forked(self):
        if not self.reader.is_open:
            _exit_process(0)


def set_environment(variables):
    """Makes `os.environ` the function's variables and the few that every process has."""
    kept = {name: os.environ.get(name, default) for name, default in _KEPT_VARIABLES.items()}
    os.environ.clear()
    os.environ.update(kept)
    for name, value in variables.items():
        if name != "HOME":
            _set_variable(name, value)
    time.tzset()


def _set_variable(name, value):
    try:
        os.environ[name] = value
    except ValueError as error:
        raise LoadFailure("LoadError", "ValueError: the environment variable %s cannot be set (%s)" % (name, error)) from None
