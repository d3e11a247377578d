import { FunctionName } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import type { DeclaredFunctions } from "../store/declared.ts";
import type { FunctionEntry, FunctionRegistry } from "./registry.ts";

/** Unknown names may be anybody's guesses: so many are asked for in a second, the rest is answered from memory. */
const MAX_QUESTIONS_PER_SECOND = 20;

/** Finds functions that were declared a moment ago, before the watch says so. */
export class MissingFunctions {
  readonly #clock: Clock;
  readonly #functions: Pick<DeclaredFunctions, "read">;
  readonly #registry: FunctionRegistry;
  readonly #asked = new Map<string, Promise<void>>();
  #second = 0;
  #questions = 0;

  constructor(clock: Clock, functions: Pick<DeclaredFunctions, "read">, registry: FunctionRegistry) {
    this.#clock = clock;
    this.#functions = functions;
    this.#registry = registry;
  }

  /** Undefined when there is none. @throws KsError `STORE_UNAVAILABLE` */
  async find(name: string): Promise<FunctionEntry | undefined> {
    if (!FunctionName.safeParse(name).success) return undefined;
    const known = this.#asked.get(name);
    if (known === undefined && !this.#mayAsk()) return this.#registry.byName(name);
    await (known ?? this.#ask(name));
    return this.#registry.byName(name);
  }

  #ask(name: string): Promise<void> {
    // What was read is told to everybody who watches, the registry among them.
    const asking = this.#functions.read(name).then(
      () => void this.#asked.delete(name),
      (error: unknown) => {
        this.#asked.delete(name);
        throw error;
      },
    );
    this.#asked.set(name, asking);
    return asking;
  }

  #mayAsk(): boolean {
    const second = Math.floor(this.#clock.monotonicMs() / 1000);
    if (second !== this.#second) this.#questions = 0;
    this.#second = second;
    return this.#questions++ < MAX_QUESTIONS_PER_SECOND;
  }
}
