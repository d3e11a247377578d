import type { LineSink, LogSource, FunctionLogs } from "../logs/function-logs.ts";
import type { PrintedLines } from "../instances/printed-lines.ts";
import type { OutputSink } from "../instances/local/descriptor-output.ts";
import type { Replica } from "../instances/port.ts";

/** Leads what replicas print into the logs of their functions. */
export class FunctionOutput implements OutputSink {
  readonly #logs: FunctionLogs;
  readonly #pipes = new WeakMap<Replica, { stdout?: LineSink; stderr?: LineSink }>();

  constructor(logs: FunctionLogs) {
    this.#logs = logs;
  }

  lines(replica: Replica, lines: PrintedLines): void {
    const source = describeSource(replica, lines.stream, lines.requestId ?? null);
    if (lines.dropped > 0) return this.#appendDropped(replica, source, lines);
    this.#logs.appendLines(replica.revision.uid, source, lines.body, lines.timeMs, lines.truncated);
  }

  raw(replica: Replica, stream: "stdout" | "stderr", chunk: Buffer, requestId: string | undefined): void {
    let pipes = this.#pipes.get(replica);
    if (pipes === undefined) this.#pipes.set(replica, (pipes = {}));
    pipes[stream] ??= this.#logs.lineSink(replica.revision.uid, describeSource(replica, stream, null));
    pipes[stream].write(chunk, requestId ?? null);
  }

  rawDropped(replica: Replica, stream: "stdout" | "stderr", bytes: number): void {
    const source = describeSource(replica, stream, null);
    const message = `${bytes} bytes were dropped: the function printed faster than they could be kept`;
    // How many lines they were nobody has counted; at least one.
    this.#logs.append(replica.revision.uid, { ...source, time: new Date().toISOString(), message, dropped: 1 });
  }

  #appendDropped(replica: Replica, source: LogSource, { timeMs, dropped }: PrintedLines): void {
    const message = `${dropped} lines were dropped: the function printed faster than they could be kept`;
    this.#logs.append(replica.revision.uid, { ...source, time: new Date(timeMs).toISOString(), message, dropped });
  }

  ended(replica: Replica): void {
    const pipes = this.#pipes.get(replica);
    pipes?.stdout?.end();
    pipes?.stderr?.end();
    this.#pipes.delete(replica);
  }
}

function describeSource(replica: Replica, stream: "stdout" | "stderr", requestId: string | null): LogSource {
  return { stream, requestId, replica: replica.id, revision: replica.revision.revision };
}
