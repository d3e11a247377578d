"""Attempts what its arguments say, and prints what came of each: done, or the error that it met."""

import ctypes
import errno
import os
import socket
import sys

LIBC = ctypes.CDLL(None, use_errno=True)


def fail_by_errno(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), "")


def call(*numbers):
    fail_by_errno(LIBC.syscall(*[ctypes.c_long(int(number, 0)) for number in numbers]))


def open_and_close(path, flags):
    os.close(os.open(path, flags, 0o644))


def read_by_link(path):
    os.symlink(path, "/tmp/link")
    open_and_close("/tmp/link", os.O_RDONLY)


def connect(address, port):
    with socket.socket() as client:
        client.settimeout(3)
        client.connect((address, int(port)))


def fill(path):
    with open(path, "wb", 0) as file:
        for _ in range(400):
            file.write(b"x" * (1 << 20))


def take_descriptors():
    while True:
        os.open("/dev/null", os.O_RDONLY)


VERBS = {
    "read": lambda path: open_and_close(path, os.O_RDONLY),
    "write": lambda path: open_and_close(path, os.O_WRONLY | os.O_CREAT),
    "unlink": os.unlink,
    "link": os.link,
    "read-by-link": read_by_link,
    "device": lambda: os.mknod("/tmp/disk", 0o060666, os.makedev(254, 0)),
    "kill": lambda pid, signal: os.kill(int(pid), int(signal)),
    "call": call,
    "socket": lambda *numbers: socket.socket(*map(int, numbers)),
    "connect": connect,
    "fill": fill,
    "descriptors": take_descriptors,
    "terminal": lambda: fail_by_errno(LIBC.ioctl(0, ctypes.c_ulong(0x5412), ctypes.c_char_p(b"x"))),
}

for line in sys.argv[1:]:
    verb, *arguments = line.split()
    try:
        VERBS[verb](*arguments)
        print("done")
    except OSError as error:
        print(errno.errorcode.get(error.errno, str(error)))
