"use strict";

const { jsonStringify, now, setTimeout, utf8Slice } = require("./builtins.js");
const { elapsedMs } = require("./answer.js");
const { copyBytes } = require("./call.js");
const { Connection } = require("./connection.js");
const { Context, buildFunctionFacts } = require("./context.js");
const { applyEnvironment } = require("./environment.js");
const { buildEvent } = require("./event.js");
const { ProtocolError, TYPE, readUint32 } = require("./frames.js");
const { loadHandler } = require("./load.js");
const { Log, currentCall, setActiveLog } = require("./log.js");

/** A gateway that does not answer DRAIN for so long sends no calls either. */
const LEAVE_TIMEOUT_MS = 1000;

/** The life of a replica, from HELLO to its end, whoever talks to it. */
class Replica {
  #exit;
  #connections = new Set();
  #inFlight = 0;
  #facts = null;
  #handler = null;
  #concurrency = 1;
  /** Calls that came before READY, with their bodies; null outside of that time. */
  #waiting = null;
  #draining = false;
  /** Gateways that may still send calls, while the replica takes its leave. */
  #unaware = new Set();

  log = new Log();
  /** In a pod its highest memory use, undefined where that is not known. */
  readPeakMiB = null;

  /** @param exit ends the process with a code, once what was written is out */
  constructor(exit) {
    this.#exit = exit;
    setActiveLog(this.log);
  }

  get isSpecialised() {
    return this.#facts !== null;
  }

  /** Speaks to one more gateway; what is printed outside of calls goes to the newest. */
  attach(transport) {
    const connection = new Connection(this, transport);
    this.#connections.add(connection);
    this.log.sink = connection;
    return connection;
  }

  /** The gateway is gone. */
  detach(connection) {
    this.#connections.delete(connection);
    this.#unaware.delete(connection);
    connection.close();
    if (this.#draining) this.#leaveWhenDrained();
  }

  hello(connection, state) {
    const start = `{"protocol":1,"language":"nodejs","version":"${process.versions.node}","inFlight":${this.#inFlight}`;
    connection.writer.text(TYPE.HELLO, 0, `${start}${state}}`, "");
  }

  /** `state` of HELLO in a pod, with what belongs to it. */
  describeState() {
    if (this.#facts === null) return ',"state":"generic"';
    return `,"state":"specialised","function":${jsonStringify(this.#facts.uid)},"revision":${this.#facts.revision}`;
  }

  /** `meta` of PONG. */
  describeLoad() {
    const peakMiB = this.readPeakMiB?.();
    return peakMiB === undefined ? `{"inFlight":${this.#inFlight}}` : `{"inFlight":${this.#inFlight},"peakMiB":${peakMiB}}`;
  }

  specialise(connection, meta, bytes, start, end) {
    if (this.#facts !== null) throw new ProtocolError("a second SPECIALISE");
    const codeStart = start + 4 + readUint32(bytes, start);
    if (end - start < 4 || codeStart > end) throw new ProtocolError("SPECIALISE is too short for its environment");
    const startMs = now();
    this.#facts = buildFunctionFacts(meta);
    this.#concurrency = meta.concurrency;
    this.log.output?.specialise(meta.function, meta.revision);
    applyEnvironment(utf8Slice(bytes, start + 4, codeStart));
    try {
      const loaded = loadHandler(meta, utf8Slice(bytes, codeStart, end));
      if (loaded instanceof Promise) {
        this.#waiting = [];
        void this.#finishLoading(connection, loaded, startMs);
      } else {
        this.#ready(connection, loaded, startMs);
      }
    } catch (failure) {
      this.#fail(connection, failure);
    }
  }

  async #finishLoading(connection, loading, startMs) {
    let loaded;
    try {
      loaded = await loading;
    } catch (failure) {
      this.#fail(connection, failure);
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = null;
    this.#ready(connection, loaded, startMs);
    for (let i = 0; i < waiting.length; i += 1) {
      const { call, body } = waiting[i];
      // Who has left meanwhile needs no handler any more.
      if (body === null || call.cancelled) this.refuse(call);
      else this.begin(call, body, 0, body.length);
    }
  }

  #ready(connection, loaded, startMs) {
    this.#handler = loaded;
    this.log.flush();
    connection.writer.text(TYPE.READY, 0, `{"loadMs":${elapsedMs(startMs)}}`, "");
    // Out before the first call: one that holds the event loop would pass for code that does not load.
    connection.writer.flush();
  }

  #fail(connection, failure) {
    this.log.end();
    const reason = failure.reason ?? "LoadError";
    const meta = `{"reason":${jsonStringify(reason)},"message":${jsonStringify(failure.message)}}`;
    connection.writer.text(TYPE.FAILED, 0, meta, "");
    this.#exit(1);
  }

  /** False at its concurrency, and when it is to end. */
  takePlace() {
    if (this.#draining || this.#inFlight >= this.#concurrency) return false;
    this.#inFlight += 1;
    return true;
  }

  freePlace() {
    this.#inFlight -= 1;
    if (this.#draining) this.#leaveWhenDrained();
  }

  /** Runs a call whose body is whole. */
  begin(call, bytes, start, end) {
    if (this.#waiting !== null) {
      this.#waiting[this.#waiting.length] = { call, body: copyBytes(bytes, start, end) };
      return;
    }
    const event = buildEvent(call.meta, bytes, start, end);
    if (event === null) this.refuse(call);
    else currentCall.run(call, invoke, this, call, event);
  }

  /** The call's body is not what it should be; like every answer this waits for READY. */
  refuse(call) {
    if (this.#waiting !== null) {
      this.#waiting[this.#waiting.length] = { call, body: null };
      return;
    }
    call.connection.answers.refuse(call);
  }

  /** Runs the handler; called with the call as the current one. */
  invoke(call, event) {
    const { call: handler, takesCallback } = this.#handler;
    call.startMs = now();
    const context = new Context(this.#facts, call);
    let result;
    try {
      result = takesCallback ? handler(event, context, (error, value) => onCallback(call, error, value)) : handler(event, context);
      if (result !== null && typeof result === "object" && typeof result.then === "function") {
        void settle(call, result);
        return;
      }
    } catch (error) {
      call.connection.answers.fail(call, error);
      return;
    }
    if (!takesCallback) call.connection.answers.answer(call, result);
  }

  /** A gateway said DRAIN: of its own, or as it has heard that this replica leaves. */
  drain(connection) {
    this.#unaware.delete(connection);
    this.#draining = true;
    this.#leaveWhenDrained();
  }

  /** The pod is to end: tells every gateway, so that no call gets lost, and ends when it is idle. */
  leave() {
    if (this.#draining) return;
    this.#draining = true;
    if (this.isSpecialised) this.#unaware = new Set(this.#connections);
    for (const connection of this.#unaware) {
      connection.writer.text(TYPE.DRAIN, 0, "", "");
      connection.writer.flush();
    }
    setTimeout(() => {
      this.#unaware.clear();
      this.#leaveWhenDrained();
    }, LEAVE_TIMEOUT_MS);
    this.#leaveWhenDrained();
  }

  #leaveWhenDrained() {
    if (this.#inFlight > 0 || this.#unaware.size > 0) return;
    this.#exit(0);
  }

  /** The last act before the process ends. */
  end() {
    this.log.end();
    for (const { writer, transport } of this.#connections) {
      writer.flush();
      transport.end();
    }
  }
}

async function settle(call, promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    call.connection.answers.fail(call, error);
    return;
  }
  call.connection.answers.answer(call, value);
}

function onCallback(call, error, value) {
  if (error === undefined || error === null) call.connection.answers.answer(call, value);
  else call.connection.answers.fail(call, error);
}

function invoke(replica, call, event) {
  replica.invoke(call, event);
}

module.exports = { Replica };
