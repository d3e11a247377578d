import { languageOf } from "@kube-serverless/contracts";
import type { Clock } from "../../clock.ts";
import { describeExit } from "../describe-exit.ts";
import { RuntimeNotStarted } from "../runtime-not-started.ts";
import { FrameDecoder, FrameType, parseMeta, PROTOCOL_VERSION, ProtocolError } from "../../protocol/frames.ts";
import type { SandboxedProcess } from "./sandbox/port.ts";

/** A process that has said HELLO and waits for its function. */
export interface WaitingReplica {
  readonly process: SandboxedProcess;
  /** Spawn until HELLO. */
  readonly startMs: number;
  /** Where a Go artifact is put before SPECIALISE, bound at `/function`. */
  readonly functionFolder: string | undefined;
  /** Set once the process has ended without having been claimed. */
  dead: boolean;
}

/** A process that has been spawned, and what it is to become. */
export interface StartingReplica {
  process: SandboxedProcess;
  functionFolder: string | undefined;
  runtime: string;
  memoryMiB: number;
}

/**
 * Waits for HELLO.
 * @throws RuntimeNotStarted when the process ends first, or says something else, or nothing in time
 * @throws KsError `FUNCTION_OUT_OF_MEMORY` when the function's memory is too little even for its runtime
 */
export async function awaitHello(starting: StartingReplica, clock: Clock, timeoutMs: number): Promise<WaitingReplica> {
  const { process, functionFolder, runtime, memoryMiB } = starting;
  const startedAtMs = clock.monotonicMs();
  const stderr: string[] = [];
  const collect = (chunk: Buffer): void => void (stderr.length < 20 && stderr.push(chunk.toString("utf8")));
  process.stderr.on("data", collect);
  const discard = (): void => undefined;
  process.stdout.on("data", discard);
  try {
    await receiveHello(process, clock, timeoutMs);
  } catch (error) {
    process.kill();
    // Its room is given on only when it is gone.
    const exit = await process.exited;
    const printed = stderr.join("").trim().slice(0, 2000);
    const known = describeExit(exit, languageOf(runtime), memoryMiB, printed).error;
    if (known.code === "FUNCTION_OUT_OF_MEMORY") throw known;
    throw new RuntimeNotStarted(runtime, `${(error as Error).message}${printed === "" ? "" : `: ${printed}`}`, error);
  } finally {
    process.stderr.off("data", collect);
    process.stdout.off("data", discard);
    process.stdout.pause();
    process.stderr.pause();
  }
  const waiting: WaitingReplica = { process, startMs: clock.monotonicMs() - startedAtMs, functionFolder, dead: false };
  void process.exited.then(() => (waiting.dead = true));
  return waiting;
}

function receiveHello(process: SandboxedProcess, clock: Clock, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let isSettled = false;
    const settle = (error?: Error): void => {
      // The end of the process comes later, too; whoever has the replica by then must not find its frames paused.
      if (isSettled) return;
      isSettled = true;
      timer.cancel();
      process.frames.off("data", receive);
      process.frames.pause();
      if (error === undefined) resolve();
      else reject(error);
    };
    const timer = clock.setTimer(timeoutMs, () => settle(new Error(`it did not say HELLO within ${timeoutMs} ms`)));
    const decoder = new FrameDecoder((_stream, kind, _more, meta) => {
      if (kind !== FrameType.HELLO) throw new ProtocolError(`type ${kind} before HELLO`);
      const protocol = parseMeta(meta)["protocol"];
      if (protocol !== PROTOCOL_VERSION) throw new ProtocolError(`protocol version ${String(protocol)}, wanted ${PROTOCOL_VERSION}`);
      settle();
    });
    const receive = (chunk: Buffer): void => {
      try {
        decoder.push(chunk);
      } catch (error) {
        settle(error as Error);
      }
    };
    process.frames.on("data", receive);
    process.frames.on("error", () => undefined);
    void process.exited.then((exit) => settle(new Error(`its process ended with ${exit.signal ?? `code ${exit.code}`}`)));
  });
}
