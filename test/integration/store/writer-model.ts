import assert from "node:assert/strict";
import { type Seen, WRITERS } from "./writer-main.ts";

/** What the writer says on stdout. */
export interface WriterLine {
  found?: Seen[];
  latest?: number;
  start?: Seen;
  done?: Seen;
  claimed?: number;
  again?: boolean;
  fatal?: string;
  error?: string;
}

/** What a store must hold after any number of deaths: what was acknowledged, or what was being written when it died. */
export class WriterModel {
  readonly #allowed = new Map<string, Seen[]>();
  #claimed = 0;
  acknowledged = 0;

  constructor() {
    for (let index = 0; index < WRITERS; index++) this.#settle({ key: `writer-${index}`, generation: 0, codeLength: 0 });
  }

  take({ found, latest, start, done, claimed, again, fatal, error }: WriterLine): void {
    assert.equal(fatal ?? error, undefined);
    if (found !== undefined) this.#check(found, latest ?? 0);
    if (start !== undefined) this.#allowed.get(start.key)?.push(start);
    if (done !== undefined) this.#settle(done);
    if (done !== undefined || claimed !== undefined) this.acknowledged += 1;
    if (claimed !== undefined) {
      assert.equal(again, false, `planned time ${claimed} was claimed before`);
      this.#claimed = claimed;
    }
  }

  #settle(seen: Seen): void {
    this.#allowed.set(seen.key, [seen]);
  }

  #check(found: readonly Seen[], latest: number): void {
    assert.ok(latest === this.#claimed || latest === this.#claimed + 1, `claim ${this.#claimed} became ${latest}`);
    this.#claimed = latest;
    for (const [key, allowed] of this.#allowed) {
      const actual = found.find((seen) => seen.key === key) ?? { key, generation: 0, codeLength: 0 };
      const fits = allowed.some((one) => one.generation === actual.generation && one.codeLength === actual.codeLength);
      assert.ok(fits, `found ${JSON.stringify(actual)}, acknowledged or begun: ${JSON.stringify(allowed)}`);
      this.#settle(actual);
    }
    assert.equal(found.length, found.filter((seen) => this.#allowed.has(seen.key)).length, "something that nobody wrote");
  }
}
