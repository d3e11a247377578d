/** A defect as somebody might write it, and what the kill tests must say of it. */
export interface PlantedBug {
  name: string;
  /** Below `packages/server/src`. */
  file: string;
  /** Text of the file, there once, and what stands there instead. */
  replaces: string;
  by: string;
  /** What the server dies at until it is found; each for one life. */
  failpoints: readonly string[];
  finding: RegExp;
  /** Takes long to show, or another test finds the like sooner: left to the full volume. */
  isSlow?: boolean;
}

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: "a message is accepted before its commit",
    file: "api/queue-routes.ts",
    replaces: "await queues.publish(queue, {",
    by: "void queues.publish(queue, {",
    failpoints: ["store.queue.publish:2:400", "store.queue.publish:9:400"],
    finding: /accepted messages are not done|neither done nor dead/,
  },
  {
    name: "a message is acknowledged before its function has run",
    file: "queue/delivery-runs.ts",
    replaces: "const outcome = await this.#outcome(handle, signal);",
    by: 'await settle({ kind: "ack" });\n    await this.#outcome(handle, signal);\n    const outcome: DeliveryOutcome = { kind: "ack" };',
    failpoints: ["queue.before-settle:5", "queue.before-settle:20"],
    finding: /accepted messages are not done|neither done nor dead/,
    isSlow: true,
  },
  {
    name: "a message is tried more often than its trigger says",
    file: "triggers/queue.ts",
    replaces: "maxAttempts: config.maxAttempts ?? DEFAULT_MAX_ATTEMPTS,",
    by: "maxAttempts: DEFAULT_MAX_ATTEMPTS,",
    failpoints: ["queue.after-settle:60"],
    finding: /has attempt [45]/,
    isSlow: true,
  },
  {
    name: "what a dead server had in flight is never free again",
    file: "queue/sqlite/operations.ts",
    replaces: "redelivered = 1 WHERE state = ${LEASED}`",
    by: "redelivered = 1 WHERE state = -1`",
    failpoints: ["queue.before-settle:20"],
    finding: /in vain for all messages to be done or dead/,
    isSlow: true,
  },
  {
    name: "a deploy is answered before its commit",
    file: "functions/function-service.ts",
    replaces: "await this.#options.store.putFunction(stored, spec.code);",
    by: "void this.#options.store.putFunction(stored, spec.code).catch(() => undefined);",
    failpoints: ["store.functions.put:1:400", "store.functions.put:1:400"],
    finding: /^(ash|birch|cedar|elm) is /,
  },
  {
    name: "a deletion is answered before its commit",
    file: "functions/function-service.ts",
    replaces: "await this.#options.store.deleteFunction(entry.stored.uid);",
    by: "void this.#options.store.deleteFunction(entry.stored.uid).catch(() => undefined);",
    failpoints: ["store.functions.remove:1:400", "store.functions.remove:2:400", "store.functions.remove:1:400"],
    finding: /^(ash|birch|cedar|elm) is /,
  },
  {
    name: "a cron run that was handed over is taken for one that is only claimed",
    file: "triggers/cron.ts",
    replaces: 'if (state === "claimed") {',
    by: 'if (state !== "succeeded") {',
    failpoints: ["cron.before-finish:1", "cron.before-finish:1"],
    finding: /planned times that ran twice/,
    isSlow: true,
  },
  {
    name: "a cron run's outcome is not written",
    file: "triggers/cron.ts",
    replaces: "if (outcome !== undefined) await this.#finish(trigger.id, plannedAtMs, outcome);",
    by: "if (outcome === undefined) await this.#finish(trigger.id, plannedAtMs, outcome);",
    failpoints: ["cron.after-claim:2"],
    finding: /is left handed-over/,
    isSlow: true,
  },
  {
    name: "what a dead server left is not cleaned up",
    file: "instances/local/sandbox/create-sandbox.ts",
    replaces: "const abandoned = reapOwners(compiled.runtimeFolder);",
    by: "const abandoned: { cgroups: string[]; owners: string[] } = { cgroups: [], owners: [] };",
    // Another server of this machine that starts in between cleans up as well: not after each of these deaths.
    failpoints: Array.from({ length: 6 }, () => "queue.after-publish:5"),
    finding: /owners/,
  },
];
