"""Makes the process ready for a function: everything imported and run once before HELLO."""

import builtins
import faulthandler
import gc
import os
import sys
from _socket import socket

from .connection import Connection
from .exercise import exercise
from .logs import follow_threads
from .replica import Replica


def start(descriptor):
    """Serves the frame socket at the descriptor, or, where the environment says so, gateways that dial; never returns."""
    # Before the throw-away functions set theirs.
    environment = dict(os.environ)
    # What the module `site` would define, which is not run.
    builtins.exit = builtins.quit = sys.exit
    sys.argv = [""]
    # A crash of the interpreter leaves its Python stack in the function's log.
    faulthandler.enable(2, False)
    follow_threads()
    exercise()
    replica = Replica()
    replica.logs.install()
    if "KS_LISTEN" in environment:
        from .pod import listen

        listen(replica, environment)
    else:
        _serve_descriptor(replica, descriptor)
    os.register_at_fork(after_in_child=replica.on_fork)
    replica.ticker.start()
    gc.collect()
    gc.freeze()
    if "KS_LISTEN" not in environment:
        replica.hello(replica.reader)
    replica.run()


def _serve_descriptor(replica, descriptor):
    os.set_inheritable(descriptor, False)
    sock = socket(fileno=descriptor)
    sock.setblocking(True)
    replica.reader = replica.attach(Connection(sock, replica.on_frame))
