"""Makes the process ready for a function: everything imported and run once before HELLO."""

import builtins
import faulthandler
import gc
import os
import sys
from _socket import socket

from .exercise import exercise
from .logs import follow_threads
from .replica import Replica


def start(descriptor):
    """Serves the frame socket at the descriptor; never returns."""
    os.set_inheritable(descriptor, False)
    sock = socket(fileno=descriptor)
    sock.setblocking(True)
    # What the module `site` would define, which is not run.
    builtins.exit = builtins.quit = sys.exit
    sys.argv = [""]
    # A crash of the interpreter leaves its Python stack in the function's log.
    faulthandler.enable(2, False)
    follow_threads()
    exercise()
    replica = Replica(sock)
    replica.logs.install()
    os.register_at_fork(after_in_child=replica.on_fork)
    replica.ticker.start()
    gc.collect()
    gc.freeze()
    replica.hello()
    replica.run()
