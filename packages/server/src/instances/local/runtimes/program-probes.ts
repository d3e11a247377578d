import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, lstat, open, readFile, realpath, rename, stat, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { promisify } from "node:util";
import { succeeds } from "../../../succeeds.ts";

const run = promisify(execFile);
const TIMEOUT_MS = 5000;
const MAX_SAID_CHARACTERS = 200;

/** How a program is asked about itself. */
export interface Question {
  args: readonly string[];
  environment: Readonly<Record<string, string>>;
}

/** What a program printed, or why it did not come to that. */
export type Reply = { output: string } | { failure: string };

/** What a program said: its output, or null where it failed. */
interface Answer extends Question {
  path: string;
  /** Names the very file that was asked. */
  identity: string;
  /** A script may say something else tomorrow, though itself unchanged: that of pyenv runs what is chosen elsewhere. */
  isScript: boolean;
  output: string | null;
  /** Why there is no output; earlier versions did not keep it. */
  failure?: string;
}

/** Asks programs for their versions, and remembers from start to start what they said: asking is a process each. */
export class ProgramProbes {
  readonly #file: string | undefined;
  readonly #known: ReadonlyMap<string, Answer>;
  readonly #answers = new Map<string, Answer>();
  readonly #asking = new Map<string, Promise<Reply | undefined>>();
  readonly #stop = new AbortController();

  private constructor(file: string | undefined, known: readonly Answer[]) {
    this.#file = file;
    this.#known = new Map(known.map((answer) => [keyOf(answer.path, answer), answer]));
  }

  /** @param file where answers are kept; undefined keeps none. */
  static async open(file: string | undefined): Promise<ProgramProbes> {
    return new ProgramProbes(file, file === undefined ? [] : await readAnswers(file));
  }

  /** What the program prints, or printed when it was last asked; undefined where nothing is at that path. */
  ask(path: string, question: Question): Promise<Reply | undefined> {
    const key = keyOf(path, question);
    const asking = this.#asking.get(key) ?? this.#askOnce(key, path, question);
    this.#asking.set(key, asking);
    return asking;
  }

  async #askOnce(key: string, path: string, question: Question): Promise<Reply | undefined> {
    const identity = await identify(path);
    if (typeof identity !== "string") return identity;
    const known = this.#known.get(key);
    const isKnown = known?.identity === identity && (known.output !== null || known.failure !== undefined);
    const answer = isKnown ? known : await this.#askAnew(path, identity, question);
    if ("path" in answer) this.#answers.set(key, answer);
    return answer.output === undefined || answer.output === null ? { failure: answer.failure ?? "" } : { output: answer.output };
  }

  /** Keeps the answers for the next start; one that cannot be written is asked again, no more. */
  async save(): Promise<void> {
    const answers = [...this.#answers.values()];
    if (this.#file === undefined || JSON.stringify(answers) === JSON.stringify([...this.#known.values()])) return;
    const unfinished = `${this.#file}.${process.pid}`;
    await writeFile(unfinished, JSON.stringify(answers, null, 1), { mode: 0o600 })
      .then(() => rename(unfinished, this.#file!))
      .catch(() => undefined);
  }

  /** Asks those again whose answers may have changed; the paths of those that did are for the next start. */
  async recheck(): Promise<string[]> {
    const changed: string[] = [];
    for (const [key, answer] of this.#answers) {
      if (!answer.isScript || answer !== this.#known.get(key)) continue;
      const now = await this.#askAnew(answer.path, answer.identity, answer);
      if (!("path" in now) || now.output === answer.output) continue;
      this.#answers.set(key, now);
      changed.push(answer.path);
    }
    if (changed.length > 0) await this.save();
    return changed;
  }

  stop(): void {
    this.#stop.abort();
  }

  /** Without a path where it may answer the next time. */
  async #askAnew(
    path: string,
    identity: string,
    { args, environment }: Question,
  ): Promise<Answer | { output?: undefined; failure: string }> {
    const asked = { path, args, environment, identity, isScript: await isScript(path) };
    try {
      const { stdout } = await run(path, [...args], { timeout: TIMEOUT_MS, env: { ...environment }, signal: this.#stop.signal });
      return { ...asked, output: stdout.trim() };
    } catch (error) {
      const failure = describeFailure(error as ProgramError);
      // Only an exit of its own tells something about it; it is killed when it takes too long.
      return typeof (error as ProgramError).code === "number" ? { ...asked, output: null, failure } : { failure };
    }
  }
}

/** Paths of the same program once: /bin leads to /usr/bin. What goes by another name chooses by the name it is called. */
export async function resolvePrograms(paths: readonly string[], name: RegExp): Promise<string[]> {
  const resolved = await Promise.all(
    paths.map(async (path) => {
      const real = await realpath(path).catch(() => undefined);
      return real !== undefined && name.test(basename(real)) ? real : path;
    }),
  );
  return [...new Set(resolved)];
}

function keyOf(path: string, { args, environment }: Question): string {
  return JSON.stringify([path, args, environment]);
}

/** What execFile rejects with. */
interface ProgramError extends Error {
  /** How it ended, or why it did not begin. */
  code?: number | string;
  signal?: string;
  killed?: boolean;
  stderr?: string;
}

function describeFailure({ code, signal, killed, stderr = "", message }: ProgramError): string {
  if (killed === true) return `it did not answer within ${TIMEOUT_MS / 1000} s`;
  const said = stderr.trim().split("\n").at(-1)?.trim().slice(0, MAX_SAID_CHARACTERS) ?? "";
  const words = said === "" ? "" : `, saying: ${said}`;
  if (typeof code === "number") return `it ended with code ${code}${words}`;
  return typeof signal === "string" ? `it was ended by ${signal}${words}` : `it cannot be started: ${message}`;
}

/** Changes when the program is replaced; why it cannot be run, or undefined where nothing is there. */
async function identify(path: string): Promise<string | { failure: string } | undefined> {
  try {
    const [real, stats] = [await realpath(path), await stat(path)];
    if (!stats.isFile()) return undefined;
    if (!(await succeeds(access(path, constants.X_OK)))) return { failure: "the server's user may not run it" };
    return [real, stats.mtimeMs, stats.ctimeMs, stats.size].join(" ");
  } catch {
    return (await succeeds(lstat(path))) ? { failure: "it is a link to what is not there" } : undefined;
  }
}

async function isScript(path: string): Promise<boolean> {
  try {
    await using file = await open(path);
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return buffer.toString("latin1") === "#!";
  } catch {
    // It may be run, and not be read.
    return false;
  }
}

async function readAnswers(file: string): Promise<Answer[]> {
  try {
    const answers: unknown = JSON.parse(await readFile(file, "utf8"));
    return Array.isArray(answers) ? answers.filter(isAnswer) : [];
  } catch {
    return [];
  }
}

function isAnswer(value: unknown): value is Answer {
  const { path, identity, args, environment, output } = (value ?? {}) as Partial<Answer>;
  const isText = typeof path === "string" && typeof identity === "string" && (output === null || typeof output === "string");
  return isText && Array.isArray(args) && typeof environment === "object";
}
