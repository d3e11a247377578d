"use strict";

const net = require("node:net");
const { allocUnsafeSlow, atomicsWait, bufferFrom, bytesSubarray, now, uncurryThis, writeSync } = require("./builtins.js");

const READ_BYTES = 65_536;
const RETRY_MS = 2;
const FLUSH_LIMIT_MS = 5_000;
const pauseCell = new Int32Array(new SharedArrayBuffer(4));
const socketWrite = uncurryThis(net.Socket.prototype.write);

/**
 * The frame socket on a descriptor. Writes go straight to it; only where it is full a copy of the rest waits, one piece
 * of it at a time in the socket's own queue.
 */
class SocketTransport {
  #fd;
  #socket;
  /** Pieces that wait, oldest first, from #next on. */
  #waiting = [];
  #next = 0;
  #sending = null;
  #isOver = false;
  #isBroken = false;
  #onSent;

  /** Bytes that the other side has not taken yet. */
  queuedBytes = 0;
  /** Called when nothing waits any more. */
  onDrained = null;

  /**
   * @param source `{fd}`, or `{handle}` of a connection that was accepted
   * @param onRead (bytes, length): the bytes are lent until it returns
   * @param onEnd the other side has ended, or the socket is broken
   */
  constructor(source, onRead, onEnd) {
    const buffer = allocUnsafeSlow(READ_BYTES);
    this.#fd = source.fd ?? source.handle.fd;
    this.#socket = new net.Socket({
      ...source,
      readable: true,
      writable: true,
      onread: {
        buffer,
        callback: (length) => {
          onRead(buffer, length);
          return !this.#isOver;
        },
      },
    });
    this.#socket.on("error", onEnd);
    this.#socket.on("end", onEnd);
    this.#socket.on("close", onEnd);
    this.#onSent = () => {
      this.queuedBytes -= this.#sending.length;
      this.#sending = null;
      if (this.#next < this.#waiting.length) {
        this.#sendNext();
        return;
      }
      this.#waiting.length = 0;
      this.#next = 0;
      if (this.onDrained !== null) this.onDrained();
    };
  }

  write(bytes, length) {
    if (this.#isOver) return;
    const sent = this.queuedBytes === 0 ? this.#tryWrite(bytes, 0, length) : 0;
    if (sent === length) return;
    const rest = bufferFrom(bytesSubarray(bytes, sent, length));
    this.queuedBytes += rest.length;
    this.#waiting[this.#waiting.length] = rest;
    if (this.#sending === null) this.#sendNext();
  }

  #sendNext() {
    this.#sending = this.#waiting[this.#next];
    this.#waiting[this.#next] = null;
    this.#next += 1;
    socketWrite(this.#socket, this.#sending, this.#onSent);
  }

  /** How many bytes the descriptor took. */
  #tryWrite(bytes, offset, length) {
    try {
      return writeSync(this.#fd, bytes, offset, length);
    } catch (error) {
      // Nobody will ever take the rest; the reading side notices it, too, and ends the process.
      if (error.code !== "EAGAIN") this.#isBroken = true;
      return 0;
    }
  }

  /** Hangs up now; what still waits is dropped. */
  close() {
    this.#isOver = true;
    this.#socket.destroy();
  }

  /** The last act before the process ends: writes what waits, as long as the other side takes it. */
  end() {
    if (this.#isOver) return;
    this.#isOver = true;
    const limitMs = now() + FLUSH_LIMIT_MS;
    if (this.#sending !== null) {
      // What libuv has sent of the piece in its queue is gone already.
      const unsent = this.#socket._handle?.writeQueueSize ?? 0;
      this.#writeAll(this.#sending, this.#sending.length - unsent, limitMs);
    }
    for (let i = this.#next; i < this.#waiting.length; i += 1) this.#writeAll(this.#waiting[i], 0, limitMs);
  }

  #writeAll(piece, start, limitMs) {
    let offset = start;
    while (offset < piece.length && !this.#isBroken && now() < limitMs) {
      const sent = this.#tryWrite(piece, offset, piece.length - offset);
      offset += sent;
      if (sent === 0) atomicsWait(pauseCell, 0, 0, RETRY_MS);
    }
  }
}

module.exports = { SocketTransport };
