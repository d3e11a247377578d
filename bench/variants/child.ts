import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const running = new Set<ChildProcess>();

// However the benchmark ends, nothing it started stays behind.
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** A program under measurement, in a process of its own. */
export class Child {
  readonly process: ChildProcess;
  readonly #ended: Promise<unknown>;
  #stderr = "";

  constructor(program: string, args: readonly string[], environment: NodeJS.ProcessEnv) {
    this.process = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env: environment });
    running.add(this.process);
    this.#ended = once(this.process, "exit").finally(() => running.delete(this.process));
    this.#ended.catch(() => undefined);
    this.process.stderr!.on("data", (chunk: Buffer) => (this.#stderr = (this.#stderr + chunk.toString("utf8")).slice(-4000)));
  }

  get pid(): number {
    return this.process.pid!;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** What `find` makes of the first line of either stream of which it makes something. @throws when the program ends before */
  async awaitLine<T>(find: (line: string) => T | undefined): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    for (const stream of [this.process.stdout!, this.process.stderr!]) {
      createInterface({ input: stream }).on("line", (line) => {
        const found = find(line);
        if (found !== undefined) resolve(found);
      });
    }
    this.#ended.then(() => reject(new Error(`${this.process.spawnargs.join(" ")} ended before it was ready:\n${this.#stderr}`)), reject);
    return promise;
  }

  /** SIGTERM, and its end. */
  async stop(): Promise<void> {
    this.process.kill("SIGTERM");
    await this.#ended;
  }
}

/** The port that a peer prints once it listens. */
export function awaitPort(child: Child): Promise<number> {
  return child.awaitLine((line) => {
    const match = /^port (\d+)$/.exec(line);
    return match === null ? undefined : Number(match[1]);
  });
}
