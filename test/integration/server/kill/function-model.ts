import assert from "node:assert/strict";
import type { Answer, Client } from "../support/client.ts";

/** What a function is to be. */
interface Wanted {
  code: string;
  maxReplicas: number;
  loads: boolean;
}

/** One name, what was acknowledged about it, and what was asked for when the server died. */
export class FunctionModel {
  readonly name: string;
  readonly #random: () => number;
  #acknowledged: Wanted | undefined;
  #asked: { wanted: Wanted | undefined } | undefined;
  #versions = 0;

  constructor(name: string, random: () => number) {
    this.name = name;
    this.#random = random;
  }

  /** One change; throws TypeError when the server is gone. */
  async change(client: Client): Promise<void> {
    const before = this.#acknowledged;
    const wanted = before !== undefined && this.#random() < 0.35 ? undefined : this.#next(before);
    this.#asked = { wanted };
    const answer = await this.#send(client, before, wanted);
    const expected = wanted === undefined ? 204 : before === undefined ? 201 : 200;
    assert.equal(answer.status, expected, `${this.name}: ${answer.text}`);
    this.#acknowledged = wanted;
    this.#asked = undefined;
    // Otherwise each change would cut off the build of the one before.
    if (wanted !== undefined && this.#random() < 0.5) await client.settled(this.name);
  }

  /** What was acknowledged is there, or what was asked for last: nothing else. */
  async check(client: Client): Promise<void> {
    const { status, json, text } = await client.get(`/functions/${this.name}`);
    assert.ok(status === 200 || status === 404, `${this.name}: ${text}`);
    const allowed = [this.#acknowledged, ...(this.#asked === undefined ? [] : [this.#asked.wanted])];
    const found = allowed.find((wanted) =>
      wanted === undefined ? status === 404 : status === 200 && json.code === wanted.code && json.maxReplicas === wanted.maxReplicas,
    );
    assert.ok(
      found !== undefined || (status === 404 && allowed.includes(undefined)),
      `${this.name} is ${text}, not ${JSON.stringify(allowed)}`,
    );
    this.#acknowledged = found;
    this.#asked = undefined;
  }

  /** It is `running` or `failed` as its code deserves, and answers by its newest version. */
  async checkSettled(client: Client): Promise<void> {
    const wanted = this.#acknowledged;
    if (wanted === undefined) return;
    const { state } = await client.settled(this.name);
    assert.equal(state, wanted.loads ? "running" : "failed", this.name);
    if (!wanted.loads) return;
    const { status, json, text } = await client.invoke(this.name);
    assert.equal(status, 200, `${this.name}: ${text}`);
    assert.ok(wanted.code.includes(`"${json.body.version}"`), `${this.name} answers ${text}, its code is ${wanted.code}`);
  }

  get isThere(): boolean {
    return this.#acknowledged !== undefined;
  }

  #next(before: Wanted | undefined): Wanted {
    const choice = this.#random();
    if (before !== undefined && choice < 0.25) return { ...before, maxReplicas: 1 + ((before.maxReplicas + 1) % 9) };
    const version = `${this.name}#${++this.#versions}`;
    const loads = choice < 0.9;
    const code = `exports.handler = async () => ({ version: "${version}" })${loads ? "" : " ) syntax error"};`;
    return { code, maxReplicas: before?.maxReplicas ?? 5, loads };
  }

  #send(client: Client, before: Wanted | undefined, wanted: Wanted | undefined): Promise<Answer> {
    if (wanted === undefined) return client.delete(this.name);
    const { code, maxReplicas } = wanted;
    const body = { name: this.name, code, maxReplicas };
    return before === undefined ? client.create(body) : client.put(body);
  }
}
