"""Loads a function's code and finds its handler."""

import sys

from .errors import message_of, place_of

_ModuleSpec = type(sys.__spec__)
_new_module = type(sys)
_Function = type(lambda: None)
_ACCEPTS_ANY_NUMBER = 0x04
_IS_COROUTINE = 0x80
_IS_ASYNC_GENERATOR = 0x200


class LoadFailure(Exception):
    """The code cannot serve; `reason` and `message` are those of the FAILED frame."""

    def __init__(self, reason, message):
        Exception.__init__(self, message)
        self.reason = reason
        self.message = message


class Handler:
    """A handler that was found, and how to call it."""

    __slots__ = ("call", "takes_context", "is_async")

    def __init__(self, call, takes_context, is_async):
        self.call = call
        self.takes_context = takes_context
        self.is_async = is_async


class _SourceLoader:
    """Lets tracebacks, `inspect` and `linecache` see the source, of which there is no file."""

    def __init__(self, file_name, source):
        self._file_name = file_name
        self._source = source

    def get_source(self, _name):
        return self._source

    def get_filename(self, _name):
        return self._file_name

    def is_package(self, _name):
        return False

    def create_module(self, _spec):
        return None

    def exec_module(self, module):
        exec(compile(self._source, self._file_name, "exec", dont_inherit=True), module.__dict__)


def load_handler(handler, code):
    """The Handler that the text `handler` names within the code; raises LoadFailure."""
    parts = handler.split(".")
    file_part = parts[0]
    file_name = file_part + ".py"
    attributes = parts[1:] or parts
    try:
        source = code.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LoadFailure("SyntaxError", "SyntaxError: the code is not UTF-8 (%s)" % error) from None
    compiled = _compile(source, file_name)
    module = _create_module(file_part.rsplit("/", 1)[-1], file_name, source)
    _run(compiled, module)
    return _describe(_find(module, attributes, file_name), ".".join(attributes))


def _compile(source, file_name):
    try:
        return compile(source, file_name, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise LoadFailure("SyntaxError", "%s: %s" % (type(error).__name__, error)) from None
    except (ValueError, MemoryError, RecursionError, OverflowError) as error:
        text = message_of(error) or "the code is nested too deeply"
        raise LoadFailure("SyntaxError", "SyntaxError: %s (%s)" % (text, file_name)) from None


def _create_module(wanted_name, file_name, source):
    name = _free_name(wanted_name)
    module = _new_module(name)
    loader = _SourceLoader(file_name, source)
    spec = _ModuleSpec(name, loader, origin=file_name)
    spec.has_location = True
    module.__spec__ = spec
    module.__loader__ = loader
    module.__package__ = ""
    module.__file__ = file_name
    # pickle, dataclasses and typing look a class's module up by its name.
    sys.modules[name] = module
    return module


def _free_name(name):
    # A handler `json.handler` must not take the place of the library's json.
    if name in sys.modules or any(_finds(finder, name) for finder in sys.meta_path):
        return name + "_function"
    return name


def _finds(finder, name):
    find_spec = getattr(finder, "find_spec", None)
    return find_spec is not None and find_spec(name, None) is not None


def _run(compiled, module):
    try:
        exec(compiled, module.__dict__)
    except ModuleNotFoundError as error:
        raise LoadFailure("ModuleNotFound", "%s: %s%s" % (type(error).__name__, message_of(error), place_of(error))) from None
    except SystemExit as error:
        text = "SystemExit: the code ended the process with %r while it was loaded%s" % (error.code, place_of(error))
        raise LoadFailure("LoadError", text) from None
    except BaseException as error:
        raise LoadFailure("LoadError", "%s: %s%s" % (type(error).__name__, message_of(error), place_of(error))) from error


def _find(module, attributes, file_name):
    value = _resolve(module, attributes)
    if value is None and len(attributes) > 1:
        value = _resolve(module, attributes[-1:])
    wanted = ".".join(attributes)
    if value is None:
        raise LoadFailure("HandlerNotFound", "AttributeError: %s has no function '%s'; %s" % (file_name, wanted, _list_callables(module)))
    if not callable(value):
        raise LoadFailure("HandlerNotFound", "TypeError: '%s' in %s is not a function but %s" % (wanted, file_name, type(value).__name__))
    return value


def _resolve(owner, attributes):
    for attribute in attributes:
        owner = getattr(owner, attribute, None)
    return owner


def _list_callables(module):
    names = sorted(
        name
        for name, value in list(vars(module).items())
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    )
    return "it has: " + ", ".join(names[:50]) if names else "it has none"


def _describe(function, name):
    if isinstance(function, type):
        raise LoadFailure("UnsupportedHandler", "TypeError: the handler '%s' is a class; name a function" % name)
    least, most = _count_parameters(function)
    if least > 2 or most < 1:
        count = least if least > 2 else most
        raise LoadFailure(
            "UnsupportedHandler",
            "TypeError: the handler '%s' must take one or two parameters, (event) or (event, context); it takes %d" % (name, count),
        )
    code = _code_of(function)
    flags = code.co_flags if code is not None else 0
    return Handler(function, most >= 2, bool(flags & (_IS_COROUTINE | _IS_ASYNC_GENERATOR)))


def _code_of(function):
    for owner in (function, getattr(function, "__func__", None), getattr(type(function), "__call__", None)):
        code = getattr(owner, "__code__", None)
        if code is not None:
            return code
    return None


def _count_parameters(function):
    """The least and the greatest number of positional arguments that the function takes."""
    if type(function) is not _Function:
        return _count_by_signature(function, True)
    code = function.__code__
    accepts_any = bool(code.co_flags & _ACCEPTS_ANY_NUMBER)
    if code.co_kwonlyargcount or accepts_any:
        # A decorator's `*args` takes what the function within takes; one with names of its own is asked itself.
        return _count_by_signature(function, accepts_any)
    return code.co_argcount - len(function.__defaults__ or ()), code.co_argcount


def _count_by_signature(function, follow_wrapped):
    from inspect import Parameter, signature

    try:
        parameters = list(signature(function, follow_wrapped=follow_wrapped).parameters.values())
    except (TypeError, ValueError):
        # Some built-in functions do not tell; they get the event alone.
        return 1, 1
    positional = [p for p in parameters if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    required = sum(1 for p in positional if p.default is Parameter.empty)
    required += sum(3 for p in parameters if p.kind is Parameter.KEYWORD_ONLY and p.default is Parameter.empty)
    if any(p.kind is Parameter.VAR_POSITIONAL for p in parameters):
        return required, 1000
    return required, len(positional)
