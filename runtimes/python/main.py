"""Starts a Python replica: descriptor 3 is the frame socket."""

import os
import sys

folder = os.path.dirname(os.path.abspath(__file__))


def main():
    # The function's code finds the library of Python alone, not the files beside this one.
    sys.path.insert(0, folder)
    from ks_replica.start import start

    sys.path.remove(folder)
    start(3)


if __name__ == "__main__":
    main()
