import type { TestContext } from "node:test";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { FrameReplica } from "../../../packages/server/src/instances/frame-replica.ts";
import type { CallSink, ResponseHead, RevisionRef } from "../../../packages/server/src/instances/port.ts";
import type { PrintedLines } from "../../../packages/server/src/instances/printed-lines.ts";
import { PodLink } from "../../../packages/server/src/instances/kubernetes/pod-link.ts";
import type { KsError } from "../../../packages/contracts/src/index.ts";
import { podSigner, ShimPod } from "../../support/pods.ts";
import type { PodLanguage } from "./pod-languages.ts";

/** A pod of this language that can be dialled, ended with the test. */
export async function startPod(t: TestContext, { command, environment }: PodLanguage): Promise<ShimPod> {
  const pod = new ShimPod({ command, environment });
  t.after(() => pod.kill());
  return pod.listening();
}

/** Dials as a gateway does; hung up with the test. */
export async function dial(t: TestContext, pod: { uid: string; ip: string; port: number }, signer = podSigner): Promise<PodLink> {
  const link = await PodLink.dial({ uid: pod.uid, ip: pod.ip, port: pod.port }, { clock: systemClock, signer, timeoutMs: 5000 });
  t.after(() => link.close());
  return link;
}

/** Dials and leaves a token. */
export async function dialGeneric(t: TestContext, pod: ShimPod): Promise<PodLink> {
  const link = await dial(t, pod);
  link.leaveToken();
  return link;
}

export const revisionOf = (language: PodLanguage, concurrency = 10, environment: Record<string, string> = { WHO: "me" }): RevisionRef => ({
  uid: "6a1f0f6e-4d0b-4f0f-9d3a-0c1b2d3e4f50",
  name: "hello",
  revision: 3,
  spec: {
    name: "hello",
    runtime: "nodejs18",
    handler: language.handler,
    environment,
    minReplicas: 0,
    maxReplicas: 1,
    triggers: [],
    timeout: 20,
    memory: 256,
    concurrency,
    network: "outbound",
  },
});

export interface Served {
  replica: FrameReplica;
  printed: PrintedLines[];
  peaks: number[];
}

function createReplica(revision: RevisionRef): Served {
  const printed: PrintedLines[] = [];
  const peaks: number[] = [];
  const replica = new FrameReplica({
    id: "pod",
    revision,
    clock: systemClock,
    loadTimeoutMs: 10_000,
    leaveGraceMs: 30_000,
    onPrinted: (lines) => printed.push(lines),
    onAbandoned: () => undefined,
    onLoad({ peakMiB }) {
      if (peakMiB !== undefined) peaks.push(peakMiB);
    },
  });
  return { replica, printed, peaks };
}

/** Sends SPECIALISE over a claimed link. */
export function specialise(link: PodLink, language: PodLanguage, code: string, revision = revisionOf(language)): Served {
  const served = createReplica(revision);
  served.replica.specialise(
    { socket: link.handOver(), kill: () => link.close() },
    {
      code: Buffer.from(code),
      module: language.module,
      concurrency: revision.spec.concurrency,
      runtimeVersion: "",
      fromPool: true,
      startMs: 0,
      ...(language.programs === undefined ? {} : { artifact: language.programs.get(code)! }),
    },
  );
  return served;
}

/** Serves a pod that another gateway has specialised. */
export function adopt(link: PodLink, language: PodLanguage): Served {
  const served = createReplica(revisionOf(language));
  const ready = { atMs: 0, fromPool: true, startMs: 0, loadMs: 0, runtimeVersion: "" };
  served.replica.adopt({ socket: link.handOver(), kill: () => link.close() }, ready);
  return served;
}

export interface Outcome {
  head?: ResponseHead;
  body: Buffer;
  error?: KsError;
  notStarted?: KsError;
}

let lastId = 0;

/** One call with a JSON body, and what came of it. */
export function call(replica: FrameReplica, body: unknown): Promise<Outcome> {
  return new Promise((resolve) => {
    const outcome: Outcome = { body: Buffer.alloc(0) };
    const end = (): void => resolve(outcome);
    const sink: CallSink = {
      onHead(head, piece, more) {
        outcome.head = head;
        sink.onData(piece, more);
      },
      onData(piece, more) {
        outcome.body = Buffer.concat([outcome.body, piece]);
        if (!more) end();
      },
      onError(error) {
        outcome.error = error;
        end();
      },
      onNotStarted(cause) {
        outcome.notStarted = cause;
        end();
      },
      onStalled: () => undefined,
    };
    lastId += 1;
    replica.call(
      {
        id: `request-${lastId}`,
        method: "POST",
        path: "/invoke",
        query: {},
        headers: { "content-type": "application/json" },
        trigger: { type: "invoke" },
        timeoutMs: 20_000,
      },
      [Buffer.from(JSON.stringify(body))],
      sink,
    );
  });
}
