"""Serves one call, from its frames to its response, whatever kind of handler runs it.

`serve` is a coroutine function; `mode` says how to wait. In blocking mode nothing in it ever suspends.
"""

from time import perf_counter

from .context import Context
from .errors import describe_error, message_of
from .event import InvalidBody, build_event
from .frames import MAX_BODY
from .logs import current_call
from .response import InvalidResponse, Response, ReturnedError, build_response, encode_piece

END = object()


async def serve(call, handler, info, mode):
    """Runs the handler for a call that is whole and sends what comes of it; SystemExit passes through."""
    meta = call.meta
    try:
        event = build_event(meta, call.take_body())
    except InvalidBody as error:
        call.fail("INVALID_REQUEST", {"type": "InvalidBody", "message": str(error)}, 0)
        return
    context = call.context = Context(info, call.request_id, meta.get("timeoutMs", 0), meta.get("caller"))
    if call.is_cancelled:
        context.signal._abort()
    current_call.set(call)
    call.is_running = True
    started = perf_counter()
    try:
        result = handler.call(event, context) if handler.takes_context else handler.call(event)
        if hasattr(type(result), "__await__"):
            result = await mode.wait(result)
        duration_ms = _since(started)
        response = build_response(result)
    except SystemExit:
        raise
    except InvalidResponse as error:
        call.fail(error.code, {"type": error.type_name, "message": str(error)}, _since(started))
        return
    except ReturnedError as returned:
        call.fail("FUNCTION_ERROR", describe_error(returned.error), _since(started))
        return
    except BaseException as error:
        call.fail("FUNCTION_ERROR", describe_error(error), _since(started))
        return
    if response.is_stream:
        await _serve_stream(call, response, mode, started)
    else:
        call.respond(response, duration_ms)


async def _serve_stream(call, response, mode, started):
    iterator = response.body
    if hasattr(type(iterator), "__aiter__") and not hasattr(type(iterator), "__anext__"):
        iterator = type(iterator).__aiter__(iterator)
    has_begun = False
    try:
        first = await mode.next(iterator)
        if first is END:
            call.respond(Response(response.status, response.headers, "text", b""), _since(started))
            return
        kind, data = encode_piece(first)
        # The head waits for the first piece, as a stream that fails at once is still an error with a status.
        if not call.begin_stream(response, kind, _since(started), data[:MAX_BODY]):
            return
        has_begun = True
        await _send_pieces(call, data[MAX_BODY:], mode)
        while not call.is_cancelled:
            piece = await mode.next(iterator)
            if piece is END:
                break
            await _send_pieces(call, encode_piece(piece)[1], mode)
    except SystemExit:
        raise
    except BaseException as error:
        if has_begun:
            call.abort_stream(message_of(error) or type(error).__name__)
        else:
            call.fail("FUNCTION_ERROR", describe_error(error), _since(started))
        return
    finally:
        await _close(iterator, mode)
    if call.is_cancelled:
        call.abort_stream("the caller went away")
    else:
        call.end_stream()


async def _send_pieces(call, data, mode):
    while data and not call.is_cancelled:
        room = call.room
        if room <= 0:
            await mode.wait_credit(call)
            continue
        size = min(room, MAX_BODY)
        call.send_piece(data[:size])
        data = data[size:]


async def _close(iterator, mode):
    """Ends a generator that was left, so that its `finally` runs now."""
    try:
        if hasattr(iterator, "aclose"):
            await mode.wait(iterator.aclose())
        elif hasattr(iterator, "close"):
            iterator.close()
    except Exception:
        pass  # The call has its answer.


def _since(started):
    return round((perf_counter() - started) * 1000, 3)
