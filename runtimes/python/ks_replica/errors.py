"""Errors of user code, described for the gateway."""

import os

MAX_STACK_BYTES = 16 * 1024
MAX_MESSAGE_BYTES = 16 * 1024
_SHIM_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MAIN_FILE = os.path.join(os.path.dirname(os.path.dirname(_SHIM_FOLDER)), "main.py")


def describe_error(error):
    """`type`, `message` and `stack` of an exception; never raises."""
    return {
        "type": type(error).__name__,
        "message": cut(message_of(error), MAX_MESSAGE_BYTES),
        "stack": cut(_format_stack(error), MAX_STACK_BYTES),
    }


def message_of(error):
    """The text of an exception, also of one whose `__str__` fails."""
    try:
        return str(error)
    except Exception:
        return "(%s cannot be shown as text)" % type(error).__name__


def place_of(error):
    """` (handler.py, line 3)`: the innermost line of user code that raised it, or nothing."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not _is_shim(name) and not os.path.isabs(name) and not name.startswith("<"):
            place = " (%s, line %d)" % (name, trace.tb_lineno)
        trace = trace.tb_next
    return place


def cut(text, max_bytes):
    """The text, or the beginning of it that takes at most so many bytes as UTF-8."""
    if len(text) * 4 <= max_bytes:
        return text
    data = text.encode("utf-8", "backslashreplace")
    return data[:max_bytes].decode("utf-8", "ignore")


def _is_shim(file_name):
    return file_name.startswith(_SHIM_FOLDER) or file_name == _MAIN_FILE


def _format_stack(error):
    try:
        return _format_with_traceback(error)
    except BaseException:
        # User code may have broken what the traceback module needs.
        return "%s: %s%s" % (type(error).__name__, message_of(error), place_of(error))


def _format_with_traceback(error):
    # Takes a few milliseconds and half a megabyte, so it waits for the first error.
    from traceback import TracebackException

    described = TracebackException(type(error), error, error.__traceback__)
    _hide_shim(described, set())
    return "".join(described.format())


def _hide_shim(described, seen):
    if described is None or id(described) in seen:
        return
    seen.add(id(described))
    kept = [frame for frame in described.stack if not _is_shim(frame.filename)]
    del described.stack[:]
    described.stack.extend(kept)
    _hide_shim(described.__cause__, seen)
    _hide_shim(described.__context__, seen)
    for inner in getattr(described, "exceptions", None) or ():
        _hide_shim(inner, seen)
