import { createHash, randomUUID } from "node:crypto";
import { KsError } from "@kube-serverless/contracts";
import type { BuildResult, RunBuild } from "./build-run.ts";
import type { GoArtifacts } from "./go-artifacts.ts";
import { buildGoFailure, checkGoImports, explainCompilerOutput } from "./go-failure.ts";
import { type GoHeader, parseGoHandler, parseGoHeader, rewriteGoSource } from "./go-source.ts";
import { Slots } from "./slots.ts";
import type { GoToolkit, GoToolkitSource } from "./toolkit.ts";

export interface GoBuilderOptions {
  toolkits: GoToolkitSource;
  artifacts: GoArtifacts;
  run: RunBuild;
  /** Makes a folder readable where builds run, and tells its path there. */
  stage(source: string): Promise<{ source: string; target: string }>;
  /** Builds at once. @default 1 */
  maxBuilds?: number;
  /** @default 120 s */
  timeoutMs?: number;
  /** @default 1024 */
  memoryMiB?: number;
}

export interface GoBuildRequest {
  code: string;
  handler: string;
  /** The go command of the toolchain. */
  program: string;
  /** Such as `go1.19`: language and behaviour, also under a newer toolchain. */
  language: string;
  signal?: AbortSignal;
}

/** A compiled program. */
export interface BuiltProgram {
  path: string;
  /** 0 where it was there. */
  compileMs: number;
}

interface Build {
  promise: Promise<BuiltProgram>;
  waiting: number;
  abort: AbortController;
}

/** The build script ends so where the source is at fault. */
const SOURCE_AT_FAULT = 65;

/** From source to program; the same source is compiled once. */
export class GoBuilder {
  readonly #options: GoBuilderOptions;
  readonly #slots: Slots;
  readonly #running = new Map<string, Build>();
  readonly #staged = new Map<string, ReturnType<GoBuilderOptions["stage"]>>();
  /** Compiler runs so far. */
  compiled = 0;

  constructor(options: GoBuilderOptions) {
    this.#options = options;
    this.#slots = new Slots(options.maxBuilds ?? 1);
  }

  /**
   * Path of the compiled program.
   * @throws KsError `FUNCTION_FAILED` with `{reason, message}`: `SyntaxError`, `CompileError`, `HandlerNotFound`, `ModuleNotFound`, `LoadTimeout`
   */
  async build(request: GoBuildRequest): Promise<string> {
    return (await this.buildTimed(request)).path;
  }

  /** The same, and how long it took. @throws KsError */
  async buildTimed(request: GoBuildRequest): Promise<BuiltProgram> {
    request.signal?.throwIfAborted();
    const handler = parseGoHandler(request.handler);
    if (handler === undefined) throw buildGoFailure("HandlerNotFound", `${request.handler} can't be the name of a Go function`);
    // A byte order mark may stand only at the start of a file, and something else will.
    const wanted = { ...request, code: request.code.replace(/^\uFEFF/, "") };
    const key = await this.#keyOf(wanted, handler);
    const running = this.#running.get(key) ?? this.#start(key, wanted, handler);
    return waitFor(running, request.signal);
  }

  async #keyOf({ program, language, code }: GoBuildRequest, handler: string): Promise<string> {
    const parts = [await this.#options.toolkits.keyOf(program), language, handler, code];
    return createHash("sha256").update(parts.join("\0")).digest("hex");
  }

  #start(key: string, request: GoBuildRequest, handler: string): Build {
    const abort = new AbortController();
    const promise = this.#findOrCompile(key, request, handler, abort.signal).finally(() => {
      if (this.#running.get(key) === build) this.#running.delete(key);
    });
    const build: Build = { promise, waiting: 0, abort };
    this.#running.set(key, build);
    abort.signal.addEventListener("abort", () => {
      if (this.#running.get(key) === build) this.#running.delete(key);
    });
    return build;
  }

  async #findOrCompile(key: string, request: GoBuildRequest, handler: string, signal: AbortSignal): Promise<BuiltProgram> {
    const found = await this.#options.artifacts.find(key);
    if (found !== undefined) return { path: found, compileMs: 0 };
    const startedAtMs = performance.now();
    const header = parseGoHeader(request.code);
    checkDirectives(request.code);
    const toolkit = await this.#options.toolkits.get(request.program);
    checkGoImports(header, toolkit.packages);
    return this.#slots.run(async () => {
      signal.throwIfAborted();
      const program = await this.#compile(toolkit, header, request, handler, signal);
      const path = await this.#options.artifacts.add(key, program);
      return { path, compileMs: performance.now() - startedAtMs };
    });
  }

  async #compile(
    toolkit: Omit<GoToolkit, "launcher">,
    header: GoHeader,
    request: GoBuildRequest,
    handler: string,
    signal: AbortSignal,
  ): Promise<Buffer> {
    const { timeoutMs = 120_000, memoryMiB = 1024 } = this.#options;
    const bind = await this.#stage(toolkit.folder);
    const form = header.imports.some(({ path }) => toolkit.httpPackages.has(path)) ? "http" : "plain";
    const godebug = request.language === "go1.19" ? toolkit.oldGodebug : "";
    this.compiled++;
    const result = await this.#options.run({
      id: `build-${randomUUID().slice(0, 13)}`,
      command: ["/bin/sh", `${bind.target}/build.sh`, handler, request.language, godebug, form],
      environment: { PATH: "/usr/bin:/bin", HOME: "/tmp", TMPDIR: "/tmp", LANG: "C.UTF-8" },
      binds: [bind],
      input: Buffer.from(rewriteGoSource(request.code, header)),
      timeoutMs,
      memoryMiB,
      signal,
    });
    signal.throwIfAborted();
    return takeProgram(result, handler, timeoutMs, memoryMiB);
  }

  /** Looking whether hundreds of archives have changed takes longer than compiling. */
  #stage(folder: string): ReturnType<GoBuilderOptions["stage"]> {
    let staged = this.#staged.get(folder);
    if (staged === undefined) {
      staged = this.#options.stage(folder);
      this.#staged.set(folder, staged);
      staged.catch(() => this.#staged.delete(folder));
    }
    return staged;
  }
}

/** Whoever leaves doesn't end the build for the others; the last one does. */
async function waitFor(build: Build, signal: AbortSignal | undefined): Promise<BuiltProgram> {
  build.waiting++;
  const left = Promise.withResolvers<never>();
  const leave = (): void => left.reject(signal?.reason);
  signal?.addEventListener("abort", leave);
  if (signal?.aborted === true) leave();
  try {
    return await (signal === undefined ? build.promise : Promise.race([build.promise, left.promise]));
  } finally {
    signal?.removeEventListener("abort", leave);
    build.waiting--;
    if (build.waiting === 0 && signal?.aborted === true) {
      build.abort.abort(signal.reason);
      build.promise.catch(() => undefined);
    }
  }
}

/** Only cgo may say these; old compilers can be talked into believing that it did. */
function checkDirectives(code: string): void {
  const found = code.match(/^[ \t]*\/\/go:cgo_\w+/m)?.[0].trim();
  if (found !== undefined) throw buildGoFailure("CompileError", `${found}: cgo is not available to functions`);
}

function takeProgram(result: BuildResult, handler: string, timeoutMs: number, memoryMiB: number): Buffer {
  if (result.ended === "timeout") throw buildGoFailure("LoadTimeout", `compiling took longer than ${timeoutMs / 1000} s`);
  if (result.ended === "memory") throw buildGoFailure("CompileError", `compiling took more than ${memoryMiB} MiB of memory`);
  if (result.ended === "output") throw buildGoFailure("CompileError", "the compiled program is too large");
  if (result.code === SOURCE_AT_FAULT) throw explainCompilerOutput(result.stderr, handler);
  if (result.code === 0 && result.stdout.length > 0) return result.stdout;
  const words = result.stderr.trim().slice(-2000);
  throw new KsError("INTERNAL", { message: `The Go build ended with ${result.code ?? "a signal"}: ${words}` });
}
