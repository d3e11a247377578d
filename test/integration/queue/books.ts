import assert from "node:assert/strict";

/** What was said of messages, by those who publish them and those who get them. */
export class Books {
  readonly published = new Set<string>();
  readonly accepted = new Set<string>();
  readonly done = new Set<string>();
  readonly dead = new Set<string>();
  highestAttempt = 0;

  /** Accepted, and neither done nor dead. */
  open(): string[] {
    return [...this.accepted].filter((id) => !this.done.has(id) && !this.dead.has(id));
  }

  deliver(attempt: number): void {
    this.highestAttempt = Math.max(this.highestAttempt, attempt);
  }

  /** That they balance, once nothing waits any more. */
  check(limits: { maxAttempts: number; leastAccepted: number }): void {
    assert.deepEqual(this.open(), [], "accepted, and neither done nor dead");
    const unknown = [...this.done, ...this.dead].filter((id) => !this.published.has(id));
    assert.deepEqual(unknown, [], "never published");
    assert.ok(this.highestAttempt <= limits.maxAttempts, `attempt ${this.highestAttempt} of ${limits.maxAttempts}`);
    assert.ok(this.accepted.size > limits.leastAccepted, `only ${this.accepted.size} accepted: the workload did not run`);
  }
}
