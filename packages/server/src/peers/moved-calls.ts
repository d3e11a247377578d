import type { Call, CallEntrance } from "../dispatch/call.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import { InboundCall } from "./inbound-call.ts";

/** A function in memory, as far as its calls are concerned. */
export interface MovableFunction {
  readonly existingDispatcher: Dispatcher | undefined;
  entrance(): CallEntrance;
}

/** Sends calls that wait here to the function's new owner; other gateways move those that they have sent here themselves. */
export function moveWaitingCalls(moved: MovableFunction): void {
  const waiting: readonly Call[] = moved.existingDispatcher?.takeQueued((call) => !(call instanceof InboundCall)) ?? [];
  if (waiting.length === 0) return;
  const entrance = moved.entrance();
  for (const call of waiting) entrance.submit(call);
}
