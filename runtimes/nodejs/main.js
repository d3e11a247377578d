"use strict";

const { cleanStack } = require("./errors.js");
const { exercise } = require("./exercise.js");
const { captureStandardStreams } = require("./log.js");
const { ProtocolError } = require("./frames.js");
const { Replica } = require("./replica.js");
const { SocketTransport } = require("./transport.js");

const FRAMES_FD = 3;
const exitProcess = process.exit.bind(process);
const listenerCount = process.listenerCount.bind(process);

async function main() {
  captureStandardStreams();
  await exercise();
  serve();
}

function serve() {
  let replica = null;
  const transport = new SocketTransport(
    FRAMES_FD,
    (bytes, length) => receive(replica, bytes, length),
    () => exitProcess(0),
  );
  const end = () => {
    replica.log.end();
    replica.writer.flush();
    transport.end();
  };
  replica = new Replica(transport, exitProcess);
  transport.onDrained = () => replica.log.reportDropped();
  // Behind the listeners of "exit", which may print too.
  const { reallyExit } = process;
  process.reallyExit = (code) => {
    end();
    reallyExit.call(process, code);
  };
  process.on("uncaughtException", (error) => {
    // A function that listens too has caught it.
    if (listenerCount("uncaughtException") > 1) return;
    process.stderr.write(`Uncaught ${stackOf(error)}\n`);
    exitProcess(1);
  });
  replica.hello();
}

function receive(replica, bytes, length) {
  try {
    replica.receive(bytes, length);
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
