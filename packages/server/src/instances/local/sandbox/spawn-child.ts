import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex, Readable } from "node:stream";
import { KsError } from "@kube-serverless/contracts";

export interface ChildSpec {
  command: readonly string[];
  environment: Readonly<Record<string, string>>;
  input?: Buffer | undefined;
  /** Open descriptors handed on as 4 and up. */
  descriptors?: readonly (number | "pipe")[];
}

export interface Child {
  process: ChildProcess;
  pid: number;
  frames: Duplex;
  stdout: Readable;
  stderr: Readable;
  /** The streams of the descriptors that were asked for as `pipe`, by number. */
  pipe(descriptor: number): Readable;
  ended: Promise<{ code: number | null; signal: string | null }>;
}

/** Starts a process group of its own with 0 empty or the input, 1 and 2 pipes, 3 the frame socket. */
export async function spawnChild(spec: ChildSpec): Promise<Child> {
  const [program, ...args] = spec.command;
  if (program === undefined) throw new KsError("INTERNAL", { message: "A sandbox needs a command" });
  const stdin = spec.input === undefined ? "ignore" : "pipe";
  const child = spawn(program, args, {
    cwd: "/",
    env: { ...spec.environment },
    detached: true,
    stdio: [stdin, "pipe", "pipe", "pipe", ...(spec.descriptors ?? [])],
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  await waitForStart(child, program);
  for (const stream of child.stdio) stream?.on("error", ignoreBrokenPipe);
  child.stdin?.end(spec.input);
  const pipe = (descriptor: number) => child.stdio[descriptor as 3] as unknown as Readable;
  return {
    process: child,
    pid: child.pid as number,
    frames: pipe(3) as Duplex,
    stdout: pipe(1),
    stderr: pipe(2),
    pipe,
    ended,
  };
}

async function waitForStart(child: ChildProcess, program: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause: NodeJS.ErrnoException) => {
      const isFull = cause.code === "EAGAIN" || cause.code === "ENOMEM" || cause.code === "EMFILE";
      reject(
        new KsError(isFull ? "NO_CAPACITY" : "INTERNAL", {
          message: `The process of a replica can't be started: ${program}: ${cause.code ?? cause.message}`,
          cause,
        }),
      );
    });
  });
  child.on("error", () => undefined);
}

/** What a stream ends with is told by the end of its process. */
function ignoreBrokenPipe(): void {}
