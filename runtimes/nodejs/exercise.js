"use strict";

const { FrameParser, FrameWriter, TYPE } = require("./frames.js");
const { Replica } = require("./replica.js");

// More of either makes the first call no faster, and each costs memory for as long as the replica waits.
const ROUNDS = 2;
const CALLS = 3;
const CODE = {
  commonjs:
    "const { inspect } = require('node:util');\nlet calls = 0;\n" +
    "module.exports.handler = async (event, context) => { calls += 1; console.log('call', calls, event.method); " +
    "if (event.query.fail) throw new Error(inspect(event.query)); " +
    "return { statusCode: 200, headers: { 'x-calls': calls }, body: { echo: event.body, id: context.awsRequestId } }; };",
  esm: "import { inspect } from 'node:util';\nexport const handler = (event) => ({ message: inspect(event.body), at: import.meta.url });",
};

/** Runs throw-away functions through everything that a first call needs, so that nothing is met for the first time then. */
async function exercise() {
  for (let round = 0; round < ROUNDS; round += 1) await runFunction("commonjs", CALLS);
  await runFunction("esm", 1);
}

function runFunction(module, calls) {
  return new Promise((resolve, reject) => {
    const replica = new Replica((code) => (code === 0 ? resolve() : reject(new Error(`a throw-away function of kind ${module} failed`))));
    const connection = replica.attach({
      queuedBytes: 0,
      write() {},
    });
    const parser = new FrameParser((kind, stream, bytes, metaStart, bodyStart, end) =>
      connection.receive(kind, stream, bytes, metaStart, bodyStart, end),
    );
    const gateway = new FrameWriter({ queuedBytes: 0, write: (bytes, length) => parser.push(bytes, length) });
    const meta = {
      function: "exercise",
      uid: "0",
      revision: 1,
      handler: "index.handler",
      module,
      concurrency: calls,
      timeoutMs: 30_000,
      memoryMiB: 256,
    };
    const environment = Buffer.from("\0\0\0\0{}");
    environment[3] = 2;
    const body = Buffer.concat([environment, Buffer.from(CODE[module])]);
    gateway.bytes(TYPE.SPECIALISE, 0, JSON.stringify(meta), body, 0, body.length);
    for (let stream = 1; stream <= calls; stream += 1) gateway.text(TYPE.CALL, stream, callMeta(stream), '{"key":"value","data":[1,2,3]}');
    gateway.text(TYPE.PING, 0, "", "12345678");
    gateway.text(TYPE.DRAIN, 0, "", "");
    gateway.flush();
  });
}

function callMeta(stream) {
  return JSON.stringify({
    id: `exercise-${stream}`,
    method: "POST",
    path: "/invoke",
    query: stream === 2 ? { fail: "1" } : {},
    headers: { host: "localhost", "content-type": "application/json", "content-length": "30" },
    trigger: { type: "invoke" },
    timeoutMs: 30_000,
  });
}

module.exports = { exercise };
