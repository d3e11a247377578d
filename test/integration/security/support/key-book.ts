import assert from "node:assert/strict";
import type { SecuredServer } from "./secured.ts";

/** One secret of a key, and what was promised of it: that it works, that it never works again, or nothing, as no answer came. */
interface Secret {
  keyId: string;
  text: string;
  promise: "works" | "refused" | "open";
}

/** Keys that were made, rotated and deleted, over many lives of servers, and what each answer promised. */
export class KeyBook {
  readonly #random: () => number;
  readonly #secrets: Secret[] = [];
  /** Keys that a request is under way for: nothing else is asked about them meanwhile. */
  readonly #busy = new Set<string>();

  constructor(random: () => number) {
    this.#random = random;
  }

  get promised(): Record<"works" | "refused", number> {
    const count = (promise: Secret["promise"]): number => this.#secrets.filter((secret) => secret.promise === promise).length;
    return { works: count("works"), refused: count("refused") };
  }

  /** One change. @throws TypeError when the server is gone */
  async change(secured: SecuredServer): Promise<void> {
    const free = this.#secrets.filter(({ promise, keyId }) => promise === "works" && !this.#busy.has(keyId));
    const { keyId } = free[Math.floor(this.#random() * free.length)] ?? {};
    const dice = this.#random();
    if (keyId === undefined || dice < 0.4) return await this.#create(secured);
    this.#busy.add(keyId);
    if (dice < 0.7) await this.#rotate(secured, keyId, dice < 0.55 ? 0 : 600);
    else await this.#delete(secured, keyId);
    this.#busy.delete(keyId);
  }

  /** Every promise holds; what was promised nothing is from now on what it is found to be. */
  async check(secured: SecuredServer): Promise<void> {
    this.#busy.clear();
    for (const secret of this.#secrets) {
      const { status } = await secured.send("GET", "/api/v1/runtimes", { key: secret.text });
      assert.ok(status === 200 || status === 401, `${secret.keyId} is answered ${status}`);
      if (secret.promise === "open") secret.promise = status === 200 ? "works" : "refused";
      const expected = secret.promise === "works" ? 200 : 401;
      assert.equal(status, expected, `a secret of ${secret.keyId} is answered ${status}, but was promised: ${secret.promise}`);
    }
  }

  async #create(secured: SecuredServer): Promise<void> {
    const { id, key } = await secured.createKey({ role: "viewer" });
    this.#secrets.push({ keyId: id, text: key, promise: "works" });
  }

  async #rotate(secured: SecuredServer, keyId: string, overlapSeconds: number): Promise<void> {
    const old = this.#workingOf(keyId);
    // Until the answer comes, those before may have ended, and are counted on by nobody.
    if (overlapSeconds === 0) for (const secret of old) secret.promise = "open";
    const { status, body } = await secured.admin("POST", `/api/v1/keys/${keyId}/rotate`, { overlapSeconds });
    assert.equal(status, 200, JSON.stringify(body));
    if (overlapSeconds === 0) for (const secret of old) secret.promise = "refused";
    // The oldest of many may have had to go.
    else for (const secret of old.slice(0, -1)) secret.promise = "open";
    this.#secrets.push({ keyId, text: body.key, promise: "works" });
  }

  async #delete(secured: SecuredServer, keyId: string): Promise<void> {
    const all = this.#secrets.filter((secret) => secret.keyId === keyId && secret.promise !== "refused");
    for (const secret of all) secret.promise = "open";
    const { status } = await secured.admin("DELETE", `/api/v1/keys/${keyId}`);
    assert.equal(status, 204);
    for (const secret of all) secret.promise = "refused";
  }

  #workingOf(keyId: string): Secret[] {
    return this.#secrets.filter((secret) => secret.keyId === keyId && secret.promise !== "refused");
  }
}
