"""The thread beside the handlers: it reads frames while a handler keeps the main thread, and sends lines that wait."""

from _thread import allocate_lock, start_new_thread
from time import sleep

_TICK_S = 0.02
_TICK_MS = 20
_IDLE_TICKS = 50


class Ticker:
    """Ticks while there is something to look after, and sleeps without a time-out otherwise."""

    def __init__(self, replica):
        self._replica = replica
        self._gate = allocate_lock()
        self._gate.acquire()
        self._is_parked = True

    def start(self):
        """Starts the thread, asleep."""
        start_new_thread(self._run, ())

    def wake(self):
        """Called when a call starts or a line is printed."""
        if self._is_parked:
            self._is_parked = False
            try:
                self._gate.release()
            except RuntimeError:
                pass  # Somebody else has just woken it.

    def _run(self):
        while True:
            self._gate.acquire()
            self._tick_until_idle()

    def _tick_until_idle(self):
        replica = self._replica
        seen = None
        idle_ticks = 0
        while True:
            running = replica.running_job
            if running is not None and running is seen and replica.main_reads:
                self._read_for_main()
            else:
                sleep(_TICK_S)
            seen = running
            replica.logs.flush()
            idle_ticks = idle_ticks + 1 if running is None and replica.logs.is_empty else 0
            if idle_ticks > _IDLE_TICKS:
                self._is_parked = True
                # Whoever came in between saw it awake, and did not wake it.
                if replica.running_job is None and replica.logs.is_empty:
                    return
                self._is_parked = False

    def _read_for_main(self):
        reader = self._replica.reader
        if not reader.reading.acquire(False):
            sleep(_TICK_S)
            return
        try:
            if reader.wait_readable(_TICK_MS):
                reader.pump()
        finally:
            reader.reading.release()
