"""Waiting by blocking the thread: sync handlers, and async ones that need no event loop."""

import sys
from _thread import allocate_lock
from threading import local

from .serve import END

_threads = local()


class BlockingMode:
    """How `serve` waits in a thread of its own; `read_for_credit` is what the thread does for credit, if it is the one that reads."""

    def __init__(self, read_for_credit=None):
        self._read_for_credit = read_for_credit

    async def wait(self, awaitable):
        """The result of an awaitable."""
        return _drive(awaitable)

    async def next(self, iterator):
        """The next item of a sync or async iterator, or END."""
        if hasattr(type(iterator), "__next__"):
            return next(iterator, END)
        try:
            return _drive(type(iterator).__anext__(iterator))
        except StopAsyncIteration:
            return END

    async def wait_credit(self, call):
        """Returns when there is credit, or the caller is gone."""
        if self._read_for_credit is not None:
            while call.room <= 0 and not call.is_cancelled:
                self._read_for_credit(call)
            return
        gate = allocate_lock()
        gate.acquire()
        call.notify_credit(gate.release)
        if call.room <= 0 and not call.is_cancelled:
            gate.acquire()


def run_coroutine(coroutine):
    """Runs a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("a call was suspended in blocking mode")


class _Started:
    """The rest of an awaitable of which the first step has been taken."""

    def __init__(self, steps, yielded):
        self._steps = steps
        self._yielded = yielded

    def __await__(self):
        steps = self._steps
        yielded = self._yielded
        while True:
            try:
                sent = yield yielded
            except BaseException as error:
                try:
                    yielded = steps.throw(error)
                except StopIteration as end:
                    return end.value
            else:
                try:
                    yielded = steps.send(sent)
                except StopIteration as end:
                    return end.value


def _drive(awaitable):
    # Importing asyncio takes 30 ms and 3 MB; an async function that waits for nothing does without.
    if "asyncio" not in sys.modules:
        steps = awaitable if hasattr(awaitable, "send") else type(awaitable).__await__(awaitable)
        try:
            awaitable = _Started(steps, steps.send(None) if hasattr(steps, "send") else next(steps))
        except StopIteration as end:
            return end.value
    return _loop_of_thread().run_until_complete(_await(awaitable))


async def _await(awaitable):
    return await awaitable


def _loop_of_thread():
    from asyncio import new_event_loop, set_event_loop

    loop = getattr(_threads, "loop", None)
    if loop is None or loop.is_closed():
        loop = _threads.loop = new_event_loop()
        set_event_loop(loop)
    return loop
