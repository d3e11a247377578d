import { readFile } from "node:fs/promises";
import { KsError } from "@kube-serverless/contracts";
import type { Clock } from "../../clock.ts";
import { encodeFrame, FrameDecoder, FrameType, MAX_BODY_BYTES, parseMeta, ProtocolError } from "../../protocol/frames.ts";
import type { BuildResult, BuildSpec } from "../go/build-run.ts";
import type { GoArtifacts } from "../go/go-artifacts.ts";
import { GoBuilder } from "../go/go-builder.ts";
import type { GoToolkit } from "../go/toolkit.ts";
import type { RevisionRef } from "../port.ts";
import type { GenericPod } from "./generic-pods.ts";
import type { PodClass } from "./pod.ts";
import type { PodLink } from "./pod-link.ts";
import type { GoBuilders, GoProgram, GoPrograms } from "./provider.ts";

const MAX_PROGRAM_BYTES = 64 * 1024 * 1024;
/** So many builders are tried for one program. */
const MAX_BUILDERS = 3;
/** Builder pods of one gateway at once. */
const MAX_BUILDS = 4;
/** On top of the builder's own limit. */
const ANSWER_GRACE_MS = 5000;

export interface PodGoOptions extends GoBuilders {
  clock: Clock;
  artifacts: GoArtifacts;
}

/** What a builder's HELLO says of its toolkit. */
type Toolkit = Omit<GoToolkit, "launcher">;

/** Go programs, compiled in builder pods, each of which sees one source, and kept by what they are made of. */
export class PodGoPrograms implements GoPrograms {
  readonly #options: PodGoOptions;
  readonly #builder: GoBuilder;
  /** By runtime and image. */
  readonly #toolkits = new Map<string, Toolkit>();

  constructor(options: PodGoOptions) {
    this.#options = options;
    this.#builder = new GoBuilder({
      toolkits: { get: (runtime) => this.#toolkitOf(runtime), keyOf: async (runtime) => `${runtime} ${options.builderOf(runtime).image}` },
      artifacts: options.artifacts,
      run: (spec) => this.#run(spec),
      // Its folder names the runtime: the toolkit itself lies in the builder.
      stage: async (source) => ({ source, target: source }),
      maxBuilds: MAX_BUILDS,
    });
  }

  /** Compiler runs so far. */
  get compiled(): number {
    return this.#builder.compiled;
  }

  async build({ spec: { runtime, handler } }: RevisionRef, code: string): Promise<GoProgram> {
    const language = runtime.replace(/^go1/, "go1.");
    const { path, compileMs } = await this.#builder.buildTimed({ code, handler, program: runtime, language });
    return { program: await readFile(path), compileMs };
  }

  async #toolkitOf(runtime: string): Promise<Toolkit> {
    const { claims, builderOf, discard } = this.#options;
    const { podClass, image } = builderOf(runtime);
    const key = `${runtime} ${image}`;
    const known = this.#toolkits.get(key);
    if (known !== undefined) return known;
    const waiting = claims.peek(podClass);
    const { pod, link } = waiting ?? (await this.#claim(podClass));
    const toolkit = readToolkit(runtime, link);
    this.#toolkits.set(key, toolkit);
    if (waiting === undefined) {
      link.close();
      discard(pod);
    }
    return toolkit;
  }

  async #claim(podClass: PodClass): Promise<GenericPod> {
    const { claims } = this.#options;
    return (await claims.claimWaiting(claims.take(podClass), podClass)) ?? claims.claimNext(podClass, () => true);
  }

  /** A builder may be deleted at any time, such as by its Deployment that shrinks: then another one has to do. */
  async #run(spec: BuildSpec): Promise<BuildResult> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#runOnce(spec);
      } catch (error) {
        if (!(error instanceof KsError && error.cause instanceof BuilderLost) || tries === MAX_BUILDERS) throw error;
      }
    }
  }

  async #runOnce(spec: BuildSpec): Promise<BuildResult> {
    const { builderOf, discard } = this.#options;
    const [, script = "", ...args] = spec.command;
    const { pod, link } = await this.#claim(builderOf(script.split("/")[0]!).podClass);
    try {
      return await this.#order(link, args, spec);
    } finally {
      link.close();
      discard(pod);
    }
  }

  #order(link: PodLink, args: readonly string[], { input, timeoutMs, signal }: BuildSpec): Promise<BuildResult> {
    const socket = link.handOver();
    const pieces: Buffer[] = [];
    let bytes = 0;
    return new Promise((resolve, reject) => {
      const settle = (result: BuildResult | undefined, error?: Error): void => {
        timer.cancel();
        signal?.removeEventListener("abort", abort);
        if (result !== undefined) resolve(result);
        else reject(new KsError("INTERNAL", { message: `The Go builder failed: ${error?.message ?? "unknown"}`, cause: error }));
      };
      const abort = (): void => settle({ code: null, stdout: Buffer.alloc(0), stderr: "", ended: "aborted" });
      const timer = this.#options.clock.setTimer(timeoutMs + ANSWER_GRACE_MS, () => settle(undefined, new Error("no answer")));
      signal?.addEventListener("abort", abort);
      const decoder = new FrameDecoder((_stream, kind, more, meta, body) => {
        if (kind === FrameType.FAILED) return settle(readFailure(meta));
        if (kind !== FrameType.ARTIFACT) return;
        bytes += body.length;
        if (bytes > MAX_PROGRAM_BYTES) throw new ProtocolError("a program that is too large");
        pieces.push(Buffer.from(body));
        if (!more) settle({ code: 0, stdout: Buffer.concat(pieces), stderr: "" });
      });
      socket.on("data", (chunk: Buffer) => {
        try {
          decoder.push(chunk);
        } catch (error) {
          settle(undefined, error as Error);
        }
      });
      link.onClosed = () => settle(undefined, new BuilderLost("its pod ended"));
      for (let at = 0; at < input.length; at += MAX_BODY_BYTES) {
        const meta = at === 0 ? JSON.stringify({ arguments: args }) : "";
        socket.write(encodeFrame(0, FrameType.BUILD, at + MAX_BODY_BYTES < input.length, meta, input.subarray(at, at + MAX_BODY_BYTES)));
      }
    });
  }
}

class BuilderLost extends Error {}

function readToolkit(runtime: string, link: PodLink): Toolkit {
  const { packages, httpPackages, oldGodebug } = (link.hello.meta["toolkit"] ?? {}) as Record<string, unknown>;
  const list = (value: unknown): ReadonlySet<string> => new Set(Array.isArray(value) ? value.map(String) : []);
  return {
    folder: runtime,
    packages: list(packages),
    httpPackages: list(httpPackages),
    oldGodebug: typeof oldGodebug === "string" ? oldGodebug : "",
  };
}

const ENDS: Readonly<Record<string, BuildResult["ended"]>> = { Timeout: "timeout", Memory: "memory", Output: "output" };

function readFailure(meta: Buffer): BuildResult {
  const { reason, message, code } = parseMeta(meta);
  const ended = ENDS[String(reason)];
  return {
    code: typeof code === "number" ? code : null,
    stdout: Buffer.alloc(0),
    stderr: typeof message === "string" ? message : "",
    ...(ended === undefined ? {} : { ended }),
  };
}
