import { KsError } from "@kube-serverless/contracts";
import type { CallHandle, CallHead, CallSink, ReadyInfo, Replica, ReplicaExit, RevisionRef } from "../port.ts";

/** Stands for a check whose result is known: ready at once, and for no calls. */
export class CheckedReplica implements Replica {
  readonly id: string;
  readonly revision: RevisionRef;
  readonly readyInfo: ReadyInfo;
  readonly ready: Promise<ReadyInfo>;
  readonly exited: Promise<ReplicaExit>;
  readonly inFlight = 0;
  readonly accepting = false;
  readonly #exit = Promise.withResolvers<ReplicaExit>();

  constructor(revision: RevisionRef, readyInfo: ReadyInfo) {
    this.id = `checked-${revision.uid}-${revision.revision}`;
    this.revision = revision;
    this.readyInfo = readyInfo;
    this.ready = Promise.resolve(readyInfo);
    this.exited = this.#exit.promise;
  }

  call(_head: CallHead, _body: readonly Buffer[], sink: CallSink): CallHandle {
    sink.onNotStarted(new KsError("DRAINING"));
    return { cancel: () => undefined, credit: () => undefined };
  }

  drain(): void {
    this.#exit.resolve({ reason: "drained", error: new KsError("DRAINING") });
  }

  kill(): void {
    this.#exit.resolve({ reason: "killed", error: new KsError("DRAINING") });
  }
}
