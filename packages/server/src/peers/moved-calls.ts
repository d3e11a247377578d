import type { Call, CallEntrance } from "../dispatch/call.ts";
import { InboundCall } from "./inbound-call.ts";

/** Calls that waited here go to the function's new owner: those of this gateway's callers from here, others from where they came. */
export function handOn(waiting: readonly Call[], entrance: CallEntrance, owner: string): void {
  for (const call of waiting) {
    if (call instanceof InboundCall) call.giveBack(owner);
    else entrance.submit(call);
  }
}
