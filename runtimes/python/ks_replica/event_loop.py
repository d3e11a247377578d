"""Async handlers on one event loop, in the main thread."""

import asyncio

from .serve import END, serve


class EventLoopMode:
    """How `serve` waits in a task."""

    def __init__(self, loop):
        self._loop = loop

    async def wait(self, awaitable):
        """The result of an awaitable."""
        return await awaitable

    async def next(self, iterator):
        """The next item of a sync or async iterator, or END."""
        if hasattr(type(iterator), "__next__"):
            # Lets other tasks run between the items.
            await asyncio.sleep(0)
            return next(iterator, END)
        try:
            return await type(iterator).__anext__(iterator)
        except StopAsyncIteration:
            return END

    async def wait_credit(self, call):
        """Returns when there is credit, or the caller is gone."""
        came = asyncio.Event()
        call.notify_credit(lambda: self._loop.call_soon_threadsafe(came.set))
        if call.room <= 0 and not call.is_cancelled:
            await came.wait()


def run_event_loop(replica):
    """Serves calls as tasks, forever."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    mode = EventLoopMode(loop)
    tasks = set()

    async def serve_task(call):
        try:
            await serve(call, replica.handler, replica.info, mode)
        except SystemExit as error:
            replica.exit_like(error)

    def take_jobs():
        while not replica.jobs.empty():
            job = replica.jobs.get()
            if job is replica.EXIT:
                replica.exit(0)
            task = loop.create_task(serve_task(job))
            # The loop itself holds tasks weakly.
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    replica.on_job = lambda: loop.call_soon_threadsafe(take_jobs)
    replica.start_reader()
    take_jobs()
    loop.run_forever()
