"use strict";

const { dateNow, now } = require("./builtins.js");

/** What every call's context says alike, made once a function. */
function buildFunctionFacts(meta) {
  return {
    name: meta.function,
    uid: meta.uid,
    revision: meta.revision,
    version: String(meta.revision),
    memory: String(meta.memoryMiB),
    arn: `kube-serverless:${meta.function}:${meta.revision}`,
    logGroup: `/kube-serverless/${meta.function}`,
    logStream: `${meta.revision}/${meta.uid}`,
  };
}

/** The second argument of a handler; its methods work without it too, as handlers like to take them out. */
class Context {
  #call;

  constructor(facts, call) {
    const { startMs } = call;
    const { timeoutMs } = call.meta;
    this.#call = call;
    this.functionName = facts.name;
    this.functionVersion = facts.version;
    this.invokedFunctionArn = facts.arn;
    this.memoryLimitInMB = facts.memory;
    this.awsRequestId = call.meta.id;
    this.requestId = call.meta.id;
    /** Who called; undefined for who did not prove it. */
    this.caller = call.meta.caller;
    this.logGroupName = facts.logGroup;
    this.logStreamName = facts.logStream;
    this.callbackWaitsForEmptyEventLoop = true;
    /** Milliseconds since 1970. */
    this.deadline = dateNow() + timeoutMs;
    this.getRemainingTimeInMillis = () => Math.max(0, Math.round(timeoutMs - (now() - startMs)));
  }

  log(...values) {
    console.log(...values);
  }

  /** Aborted when the caller is gone. */
  get signal() {
    return this.#call.signal();
  }
}
Object.defineProperty(Context.prototype, "constructor", { value: Object });

module.exports = { Context, buildFunctionFacts };
