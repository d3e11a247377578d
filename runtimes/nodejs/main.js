"use strict";

const { cleanStack } = require("./errors.js");
const { exercise } = require("./exercise.js");
const { captureStandardStreams } = require("./log.js");
const { FrameParser, ProtocolError } = require("./frames.js");
const { Replica } = require("./replica.js");
const { SocketTransport } = require("./transport.js");

const FRAMES_FD = 3;
/** The container was restarted: EX_CONFIG of sysexits. */
const EXIT_USED_BEFORE = 78;
/** Before the throw-away functions set theirs. */
const environment = { ...process.env };
const exitProcess = process.exit.bind(process);
const listenerCount = process.listenerCount.bind(process);

async function main() {
  captureStandardStreams();
  await exercise();
  const replica = new Replica(exitProcess);
  // Behind the listeners of "exit", which may print too.
  const { reallyExit } = process;
  process.reallyExit = (code) => {
    replica.end();
    reallyExit.call(process, code);
  };
  process.on("uncaughtException", (error) => {
    // A function that listens too has caught it.
    if (listenerCount("uncaughtException") > 1) return;
    process.stderr.write(`Uncaught ${stackOf(error)}\n`);
    exitProcess(1);
  });
  if (environment.KS_LISTEN === undefined) serveDescriptor(replica);
  else servePod(replica, environment);
}

/** One gateway, which holds the other end of a socket pair. */
function serveDescriptor(replica) {
  let connection = null;
  const parser = new FrameParser((kind, stream, bytes, metaStart, bodyStart, end) =>
    connection.receive(kind, stream, bytes, metaStart, bodyStart, end),
  );
  const transport = new SocketTransport(
    { fd: FRAMES_FD },
    (bytes, length) => receive(parser, bytes, length),
    () => exitProcess(0),
  );
  transport.onDrained = () => replica.log.reportDropped();
  connection = replica.attach(transport);
  replica.hello(connection, "");
}

/** Any number of gateways, which dial. */
function servePod(replica, { KS_LISTEN: listen, KS_POD_UID: uid, KS_POD_IP: ip, KS_GATEWAY_KEYS: keysPath, KS_SCRATCH: scratch = "/tmp" }) {
  const { PodOutput } = require("./pod-output.js");
  // First, so that whatever goes wrong is seen.
  replica.log.output = new PodOutput(1);
  const { Pod, requireEmpty } = require("./pod.js");
  try {
    requireEmpty(scratch.split(":"));
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    exitProcess(EXIT_USED_BEFORE);
  }
  process.on("SIGTERM", () => replica.leave());
  new Pod(replica, { uid, ip, listen, keysPath });
}

function receive(parser, bytes, length) {
  try {
    parser.push(bytes, length);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    process.stderr.write(`The gateway broke the frame protocol: ${error.message}\n`);
    exitProcess(1);
  }
}

function stackOf(error) {
  try {
    if (error !== null && typeof error === "object" && typeof error.stack === "string") return cleanStack(error.stack);
    return require("node:util").inspect(error);
  } catch {
    return "exception that can't be described";
  }
}

void main();
