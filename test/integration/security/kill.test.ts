import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { IS_FULL } from "../../support/fault-volume.ts";
import { createDataFolder, waitFor } from "../../support/server.ts";
import { seededRandom } from "../store/random.ts";
import { KeyBook } from "./support/key-book.ts";
import { ECHO, SecuredServer } from "./support/secured.ts";

/** The store's thread stands still so long before it dies: an answer that did not wait for its commit gets out meanwhile. */
const STANDSTILL_MS = 300;
const WORKERS = 3;
const LIFE_LIMIT_MS = 30_000;
const FLAGS = ["--pool-size", "0", "--cost-per-gb-second", "0", "--cost-per-invocation", "0.1"];

/** Starts servers on one data folder, one after the other, each of which dies at its failpoint. */
class Lives implements AsyncDisposable {
  readonly #dataFolder = createDataFolder();
  #server: SecuredServer | undefined;

  async start(environment: Record<string, string> = {}): Promise<SecuredServer> {
    this.#server = await SecuredServer.start({ dataFolder: this.#dataFolder, flags: FLAGS, environment });
    return this.#server;
  }

  /** Works until the server is killed at the failpoint's pass. @throws what the work throws but for the lost connection */
  async dieAt(name: string, pass: number, work: (secured: SecuredServer) => Promise<unknown>): Promise<void> {
    const secured = await this.start({ KS_FAILPOINT: `${name}:${pass}:${STANDSTILL_MS}` });
    const { server } = secured;
    const timer = setTimeout(() => server.child.kill("SIGTERM"), LIFE_LIMIT_MS);
    const [exit] = await Promise.all([server.exited, untilGone(work(secured))]);
    clearTimeout(timer);
    assert.equal(exit.signal, "SIGKILL", `${name} was not met`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.server.stop();
    rmSync(this.#dataFolder, { recursive: true, force: true });
  }
}

async function untilGone(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    // What fetch throws when the connection is lost.
    if (!(error instanceof TypeError)) throw error;
  }
}

test("whenever a server is killed, a key that was acknowledged works and one that was revoked never does again", async (t) => {
  for (let seed = 1; seed <= (IS_FULL ? 10 : 1); seed++) {
    await using lives = new Lives();
    const random = seededRandom(seed);
    const book = new KeyBook(random);
    const work = async (secured: SecuredServer): Promise<void> => {
      await book.check(secured);
      const forever = async (): Promise<never> => {
        for (;;) await book.change(secured);
      };
      await Promise.all(Array.from({ length: WORKERS }, forever));
    };
    await lives.dieAt("store.keys.put", 1, work);
    await lives.dieAt("store.keys.put", 2 + Math.floor(random() * 40), work);
    await lives.dieAt("store.keys.remove", 1, work);
    await lives.dieAt("store.keys.remove", 2 + Math.floor(random() * 15), work);
    // Written once a minute, and at the end.
    await lives.dieAt("store.keys.saveLastUse", 1, async (secured) => {
      await book.check(secured);
      secured.server.child.kill("SIGTERM");
    });
    await book.check(await lives.start());
    assert.ok(book.promised.works > 0 && book.promised.refused > 0, JSON.stringify(book.promised));
    t.diagnostic(JSON.stringify({ seed, ...book.promised }));
  }
});

test("whenever a server is killed, a budget is kept as far as it was written, and a function that is made anew has its own", async () => {
  await using lives = new Lives();
  const spec = { budget: { perDay: 0.5 } };
  const first = await lives.start();
  await first.deploy("dear", ECHO, spec);
  await first.server.stop();
  const call = async (secured: SecuredServer): Promise<number> => (await secured.admin("GET", "/fn/dear")).status;
  await lives.dieAt("store.budgets.save", 1, async (secured) => {
    for (;;) await call(secured);
  });
  const second = await lives.start();
  // The counters may have lost the last second, so some calls may come again: no more than the day has.
  const statuses: number[] = [];
  while (statuses.at(-1) !== 429 && statuses.length < 10) statuses.push(await call(second));
  assert.ok(statuses.length <= 6 && statuses.slice(0, -1).every((status) => status === 200), JSON.stringify(statuses));
  assert.equal((await second.server.stop()).code, 0);
  await lives.dieAt("store.budgets.remove", 1, async (secured) => {
    assert.equal(await call(secured), 429);
    assert.equal((await secured.admin("DELETE", "/api/v1/functions/dear")).status, 204);
  });
  const third = await lives.start();
  assert.equal(await call(third), 404);
  await third.deploy("dear", ECHO, spec);
  await waitFor("its own budget", async () => (await call(third)) === 200);
});
