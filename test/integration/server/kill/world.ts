import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createDataFolder, projectFolder, type ServerLogLine, startServer, type TestServer, waitFor } from "../../../support/server.ts";
import { Client } from "../support/client.ts";
import { type DeadServer, describeDead, findLeftovers } from "../support/leftovers.ts";
import { REACHES_SINK, Sink, TELL } from "../support/sink.ts";
import { checkCronRuns, type CronRan } from "./cron-model.ts";
import { FunctionModel } from "./function-model.ts";
import { type Buried, type Delivered, MAX_ATTEMPTS, MessageModel, QUEUE } from "./message-model.ts";

const NAMES = ["ash", "birch", "cedar", "elm"];
const PUBLISHERS = 2;
/** A life whose failpoint is not reached so soon is ended all the same. */
const LIFE_LIMIT_MS = 8_000;
const TERMINAL_LIMIT_MS = 60_000;
const FLAGS = [...REACHES_SINK, "--pool-size", "0", "--pool", "nodejs18=2"];

const TICK = `${TELL} exports.handler = (event) => tell({ kind: "cron", plannedAt: event.trigger.plannedAt });`;
const WORKER = `${TELL} exports.handler = async ({ body, trigger }) => {
  await tell({ kind: "delivered", number: body.number, messageId: trigger.messageId, attempt: trigger.attempt });
  if (body.isPoison) throw new Error("poison");
};`;
const UNDERTAKER = `${TELL} exports.handler = ({ body }) => tell({ kind: "buried", number: body.number });`;

/** One data folder over many lives of servers, and all that is known of what they promised. */
export class World {
  /** Of each start, from the process to its first answer. */
  readonly startsMs: number[] = [];
  readonly #dataFolder = createDataFolder();
  readonly #random: () => number;
  readonly #checkout: string;
  readonly #functions: FunctionModel[];
  readonly #messages = new MessageModel();
  readonly #sink: Sink<CronRan | Delivered | Buried>;
  #dead: DeadServer | undefined;
  #server: TestServer | undefined;

  private constructor(random: () => number, checkout: string, sink: Sink<CronRan | Delivered | Buried>) {
    this.#random = random;
    this.#checkout = checkout;
    this.#sink = sink;
    this.#functions = NAMES.map((name) => new FunctionModel(name, random));
  }

  /** With the functions that stay: one by cron every second, one that works off the queue. The server is that of the checkout. */
  static async create(random: () => number, checkout = projectFolder): Promise<World> {
    const world = new World(random, checkout, await Sink.open());
    const server = await world.#start({});
    const client = new Client(server);
    const environment = { SINK: world.#sink.url };
    const consumes = (queue: string, maxAttempts: number) => [{ type: "queue", config: { queue, exchange: "jobs", maxAttempts } }];
    const triggers = [{ type: "cron", config: { schedule: "* * * * * *" } }];
    await Promise.all([
      client.deploy({ name: "tick", code: TICK, environment, triggers }),
      client.deploy({ name: "worker", code: WORKER, environment, triggers: consumes(QUEUE, MAX_ATTEMPTS) }),
      client.deploy({ name: "undertaker", code: UNDERTAKER, environment, triggers: consumes("unused", 1) }),
    ]);
    await world.#kill(server);
    return world;
  }

  /** A server that works until it dies at the failpoint, or of another cause. */
  async live(failpoint: string | undefined): Promise<"failpoint" | "killed" | "at start"> {
    const server = await this.#start(failpoint === undefined ? {} : { KS_FAILPOINT: failpoint }).catch((error: Error) => {
      if (!error.message.includes("ended with SIGKILL")) throw error;
      return undefined;
    });
    if (server === undefined) {
      this.#noteDeath();
      return "at start";
    }
    const client = new Client(server);
    const limitMs = failpoint === undefined ? 200 + this.#random() * 1_500 : LIFE_LIMIT_MS;
    const timer = setTimeout(() => server.child.kill("SIGKILL"), limitMs);
    const work = this.#checkKept(client).then(() => this.#load(client));
    const [exit] = await Promise.all([server.exited, untilGone(work, server)]);
    clearTimeout(timer);
    assert.equal(exit.signal, "SIGKILL", JSON.stringify(server.log.at(-1)));
    assert.deepEqual(server.log.filter(isComplaint), []);
    this.#noteDeath();
    return server.child.killed ? "killed" : "failpoint";
  }

  /** A last server comes to rest with everything in it, and ends cleanly. */
  async finish(): Promise<Record<string, unknown>> {
    const server = await this.#start({});
    const client = new Client(server);
    await this.#checkKept(client);
    const sinceMs = performance.now();
    for (const model of this.#functions) await model.checkSettled(client);
    const triggers = [{ type: "queue", config: { queue: `${QUEUE}.dead` } }];
    await client.update({ name: "undertaker", code: UNDERTAKER, environment: { SINK: this.#sink.url }, triggers });
    await waitFor("all messages to be done or dead", () => this.#isQueueEmpty(client), TERMINAL_LIMIT_MS);
    const settledMs = performance.now() - sinceMs;
    this.#messages.checkEnd(this.#sink.events);
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    assert.deepEqual(server.log.filter(isComplaint), []);
    const cron = checkCronRuns(this.#dataFolder, this.#sink.events);
    assert.deepEqual(findLeftovers(describeDead(server.child.pid!, this.#dataFolder)), []);
    return { accepted: this.#messages.accepted, events: this.#sink.events.length, cron, settledMs: Math.round(settledMs) };
  }

  async dispose(): Promise<void> {
    if (this.#server?.child.exitCode === null && this.#server.child.signalCode === null) await this.#server.kill();
    this.#sink.close();
    rmSync(this.#dataFolder, { recursive: true, force: true });
  }

  async #start(environment: Record<string, string>): Promise<TestServer> {
    const sinceMs = performance.now();
    const server = await startServer({ dataFolder: this.#dataFolder, flags: FLAGS, environment, checkout: this.#checkout });
    this.#server = server;
    this.startsMs.push(Math.round(performance.now() - sinceMs));
    if (this.#dead !== undefined) assert.deepEqual(findLeftovers(this.#dead), []);
    this.#dead = undefined;
    return server;
  }

  async #kill(server: TestServer): Promise<void> {
    await server.kill();
    this.#noteDeath();
  }

  #noteDeath(): void {
    const pid = Number(readFileSync(join(this.#dataFolder, "server.pid"), "utf8"));
    this.#dead = describeDead(pid, this.#dataFolder);
  }

  async #checkKept(client: Client): Promise<void> {
    for (const model of this.#functions) await model.check(client);
    const { json: listed } = await client.get("/functions");
    const expected = ["tick", "undertaker", "worker", ...this.#functions.filter(({ isThere }) => isThere).map(({ name }) => name)];
    assert.deepEqual(
      listed.map(({ name }: { name: string }) => name),
      expected.sort(),
    );
    const counts = await client.queue(QUEUE);
    this.#messages.checkCounts(counts, this.#sink.events);
  }

  async #load(client: Client): Promise<void> {
    const forever = async (work: () => Promise<void>): Promise<never> => {
      for (;;) await work();
    };
    await Promise.all([
      ...this.#functions.map((model) => forever(() => model.change(client))),
      ...Array.from({ length: PUBLISHERS }, () => forever(() => this.#messages.publish(client))),
    ]);
  }

  async #isQueueEmpty(client: Client): Promise<boolean> {
    const [work, dead] = [await client.queue(QUEUE), await client.queue(`${QUEUE}.dead`)];
    return work.ready + work.unacked + dead.ready + dead.unacked === 0;
  }
}

const ERROR_LEVEL = 50;

/** The function of the cron trigger never fails, and nothing that the server meets is its own defect. */
function isComplaint({ level, msg }: ServerLogLine): boolean {
  return level >= ERROR_LEVEL || msg === "cron run failed";
}

/** The work ends with its server; any other failure of it is one. */
async function untilGone(work: Promise<unknown>, server: TestServer): Promise<void> {
  try {
    await work;
  } catch (error) {
    // What fetch throws when the connection is lost.
    if (error instanceof TypeError) return;
    server.child.kill("SIGKILL");
    throw error;
  }
}
