import { setTimeout as pause } from "node:timers/promises";
import { Agent, request } from "undici";

/** One call of a stream. */
export interface Outcome {
  /** When it was sent, by `performance.now()`. */
  atMs: number;
  tookMs: number;
  /** To whom. */
  origin: string;
  /** HTTP status; 0 where the connection broke or was refused. */
  status: number;
  /** Code of the platform's or the connection's error. */
  code?: string;
  requestId?: string;
}

export interface CallStreamOptions {
  /** Whom to call, in turn; asked anew before each call. */
  origins: () => readonly string[];
  path: string;
  callsPerSecond: number;
  /** How long one call may take. @default 30_000 */
  limitMs?: number;
  headers?: Readonly<Record<string, string>>;
  method?: "GET" | "POST";
}

/** Calls at a steady rate, whatever becomes of them: a slow answer delays no other call, so that a fault cannot hide calls. */
export class CallStream {
  readonly outcomes: Outcome[] = [];
  readonly #options: CallStreamOptions;
  readonly #ended = new AbortController();
  readonly #running: Promise<void>;
  // Each call has a connection of its own, so that none of them meets the end of another one's.
  readonly #agent = new Agent({ pipelining: 0, connect: { timeout: 10_000 } });

  constructor(options: CallStreamOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  get failures(): Outcome[] {
    return this.outcomes.filter(({ status }) => status !== 200);
  }

  /** Waits until so many more calls have been answered. */
  async settle(count: number): Promise<void> {
    const goal = this.outcomes.length + count;
    while (this.outcomes.length < goal) await pause(20);
  }

  /** No further calls; those under way are waited for. */
  async stop(): Promise<Outcome[]> {
    this.#ended.abort();
    await this.#running;
    await this.#agent.close();
    return this.outcomes;
  }

  async #run(): Promise<void> {
    const startMs = performance.now();
    const calls: Promise<void>[] = [];
    for (let count = 0; !this.#ended.signal.aborted; count++) {
      const dueMs = startMs + (count * 1000) / this.#options.callsPerSecond;
      await pause(Math.max(0, dueMs - performance.now()), undefined, { signal: this.#ended.signal }).catch(() => undefined);
      if (this.#ended.signal.aborted) break;
      const origins = this.#options.origins();
      const origin = origins[count % origins.length];
      if (origin !== undefined) calls.push(this.#call(origin));
    }
    await Promise.all(calls);
  }

  async #call(origin: string): Promise<void> {
    const { path, method = "GET", headers = {}, limitMs = 30_000 } = this.#options;
    const atMs = performance.now();
    const requestId = `stream-${Math.round(atMs * 1000)}-${this.outcomes.length}`;
    const outcome = await request(`${origin}${path}`, {
      method,
      headers: { ...headers, "x-request-id": requestId },
      dispatcher: this.#agent,
      reset: true,
      signal: AbortSignal.timeout(limitMs),
    })
      .then(async ({ statusCode, body }) => {
        const text = await body.text();
        return statusCode === 200 ? { status: 200 } : { status: statusCode, code: readCode(text) };
      })
      .catch((error: NodeJS.ErrnoException) => ({ status: 0, code: error.code ?? error.name }));
    this.outcomes.push({ atMs, tookMs: performance.now() - atMs, origin, requestId, ...outcome });
  }
}

function readCode(text: string): string {
  try {
    return String((JSON.parse(text) as { code?: unknown }).code);
  } catch {
    return text.slice(0, 80);
  }
}

/** For the message of a failed assertion: which failures, how often, and when, counted from `sinceMs`. */
export function describeFailures(outcomes: readonly Outcome[], sinceMs: number): string {
  const failures = outcomes.filter(({ status }) => status !== 200);
  const lines = failures
    .slice(0, 20)
    .map(
      ({ atMs, tookMs, origin, status, code }) =>
        `${((atMs - sinceMs) / 1000).toFixed(2)} s: ${origin} ${status} ${code} after ${tookMs.toFixed(0)} ms`,
    );
  return [`${failures.length} of ${outcomes.length} calls failed`, ...lines].join("\n");
}
