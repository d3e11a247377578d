import type { Clock } from "../../../clock.ts";
import type { Sandbox } from "../sandbox/port.ts";
import type { BuildResult, BuildSpec, RunBuild } from "../../go/build-run.ts";
import { BuildOutput } from "./run-build.ts";

/** Runs builds in sandboxes without a network: what they write is what they print. */
export function createSandboxedBuild(sandbox: Pick<Sandbox, "spawn">, clock: Clock): RunBuild {
  return async (spec: BuildSpec): Promise<BuildResult> => {
    const { id, command, environment, binds, input, memoryMiB } = spec;
    const child = await sandbox.spawn({ id, command, environment, binds, input, memoryMiB, network: "none" });
    const output = new BuildOutput();
    let ended: BuildResult["ended"];
    const end = (reason: NonNullable<BuildResult["ended"]>): void => {
      ended ??= reason;
      child.kill();
    };
    const abort = (): void => end("aborted");
    const timer = clock.setTimer(spec.timeoutMs, () => end("timeout"));
    spec.signal?.addEventListener("abort", abort);
    if (spec.signal?.aborted === true) abort();
    child.frames.on("error", () => undefined).resume();
    child.stderr.on("data", (chunk: Buffer) => output.addStderr(chunk));
    child.stdout.on("data", (chunk: Buffer) => void (output.addStdout(chunk) || end("output")));
    const closed = Promise.all([endOf(child.stdout), endOf(child.stderr)]);
    const exit = await child.exited;
    await closed;
    timer.cancel();
    spec.signal?.removeEventListener("abort", abort);
    return output.result(exit.code, exit.outOfMemory === undefined ? ended : "memory");
  };
}

function endOf(stream: NodeJS.ReadableStream): Promise<void> {
  return new Promise((resolve) => {
    stream.once("close", resolve);
    stream.once("end", resolve);
    stream.once("error", () => resolve());
  });
}
