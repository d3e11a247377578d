/** Every gateway is asked so often whether it is there. */
export const PING_INTERVAL_MS = 250;
/** Who was not heard for so long is left out: a lost node would stay Ready for tens of seconds. */
export const SILENT_AFTER_MS = 2000;
/** Who was not heard for so long gets nothing new for now: it may be gone. */
export const DOUBTED_AFTER_MS = 3 * PING_INTERVAL_MS;
/** A look that comes later than this after the one before says that this process itself stood still. */
const OWN_PAUSE_MS = 2 * PING_INTERVAL_MS;

/** What a gateway says of itself: `ready` ones own functions. */
export type GatewayState = "starting" | "ready" | "draining";

/** What is known of another gateway. */
export interface PeerRecord {
  readonly id: string;
  readonly state: GatewayState;
  /** When something last came from it, on the monotonic clock; minus infinity before, and once it is known to be gone. */
  readonly heardAtMs: number;
}

/** Who owns functions, as one gateway sees it. */
export interface View {
  /** Counts the changes of this gateway's view. */
  readonly epoch: number;
  /** Ids in order; of the ready ones that are heard, this one included when it is ready. */
  readonly members: readonly string[];
}

export interface MembersDecision {
  members: readonly string[];
  /** When the first of them would be silent for too long; infinity when there is none. */
  dueAtMs: number;
}

/** Who is ready and heard. */
export function decideMembers(
  self: { readonly id: string; readonly state: GatewayState },
  peers: Iterable<PeerRecord>,
  nowMs: number,
): MembersDecision {
  const members = self.state === "ready" ? [self.id] : [];
  let dueAtMs = Number.POSITIVE_INFINITY;
  for (const { id, state, heardAtMs } of peers) {
    const silentAtMs = heardAtMs + SILENT_AFTER_MS;
    if (state !== "ready" || silentAtMs <= nowMs) continue;
    members.push(id);
    dueAtMs = Math.min(dueAtMs, silentAtMs);
  }
  return { members: members.sort(), dueAtMs };
}

/** For how long this process itself stood still between two looks, and so could hear nobody; 0 when it did not. */
export function ownPauseMs(lastLookMs: number, nowMs: number): number {
  const lateMs = nowMs - lastLookMs - PING_INTERVAL_MS;
  return lateMs > OWN_PAUSE_MS ? lateMs : 0;
}

/** What one gateway knows of all others. No timers and no connections: it is told what was heard and what time it is. */
export class Membership {
  readonly #selfId: string;
  #selfState: GatewayState = "starting";
  readonly #records = new Map<string, MutableRecord>();
  #view: View = { epoch: 0, members: [] };
  #lastLookMs: number;

  constructor(selfId: string, nowMs: number) {
    this.#selfId = selfId;
    this.#lastLookMs = nowMs;
  }

  get view(): View {
    return this.#view;
  }

  get selfState(): GatewayState {
    return this.#selfState;
  }

  setSelfState(state: GatewayState): void {
    this.#selfState = state;
  }

  record(id: string): PeerRecord | undefined {
    return this.#records.get(id);
  }

  /** hot: something came from it. */
  noteHeard(id: string, nowMs: number): void {
    const record = this.#records.get(id);
    if (record !== undefined && nowMs > record.heardAtMs) record.heardAtMs = nowMs;
  }

  /** It told how it is. */
  noteState(id: string, state: GatewayState, nowMs: number): void {
    const record = this.#records.get(id);
    if (record === undefined) this.#records.set(id, { id, state, heardAtMs: nowMs });
    else {
      record.state = state;
      record.heardAtMs = nowMs;
    }
  }

  /** That it drains was heard on another way than its own connection. */
  noteDraining(id: string): void {
    const record = this.#records.get(id);
    if (record !== undefined) record.state = "draining";
  }

  /** Nobody listens there any more: no need to wait for its silence. */
  noteGone(id: string): void {
    const record = this.#records.get(id);
    if (record !== undefined) record.heardAtMs = Number.NEGATIVE_INFINITY;
  }

  /** It is no candidate any more. */
  forget(id: string): void {
    this.#records.delete(id);
  }

  /** Infinity for whom nothing was heard of. */
  silentForMs(id: string, nowMs: number): number {
    return nowMs - (this.#records.get(id)?.heardAtMs ?? Number.NEGATIVE_INFINITY);
  }

  /** hot: true while it was heard lately enough to be given something new. */
  isTrusted(id: string, nowMs: number): boolean {
    return this.silentForMs(id, nowMs) < DOUBTED_AFTER_MS;
  }

  isHeard(id: string, nowMs: number): boolean {
    return this.silentForMs(id, nowMs) < SILENT_AFTER_MS;
  }

  /**
   * Looks who is there now; to be called every {@link PING_INTERVAL_MS} and after each change. Returns the view, a new one only
   * where it changed.
   */
  look(nowMs: number): View {
    const pauseMs = ownPauseMs(this.#lastLookMs, nowMs);
    this.#lastLookMs = nowMs;
    // Whoever stood still blames nobody for what it could not hear meanwhile.
    if (pauseMs > 0) for (const record of this.#records.values()) record.heardAtMs = Math.min(nowMs, record.heardAtMs + pauseMs);
    const { members } = decideMembers({ id: this.#selfId, state: this.#selfState }, this.#records.values(), nowMs);
    if (!isSame(members, this.#view.members)) this.#view = { epoch: this.#view.epoch + 1, members };
    return this.#view;
  }
}

type MutableRecord = { -readonly [Key in keyof PeerRecord]: PeerRecord[Key] };

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((id, index) => id === b[index]);
}
