import { parseMeta } from "../protocol/frames.ts";

/** One printed piece: lines parted by `\n`. */
export interface PrintedLines {
  stream: "stdout" | "stderr";
  requestId: string | undefined;
  timeMs: number;
  body: Buffer;
  truncated: boolean;
  /** So many lines were lost here, as they came faster than they could leave; the body says so, too. */
  dropped: number;
}

/** A LOG frame; what it says wrong is put right, as printing ends no replica. */
export function parsePrintedLines(meta: Buffer, body: Buffer, nowMs: number): PrintedLines {
  const { stream, requestId, timeMs, truncated, dropped } = parseMeta(meta);
  return {
    stream: stream === "stderr" ? "stderr" : "stdout",
    requestId: typeof requestId === "string" ? requestId.slice(0, 200) : undefined,
    timeMs: typeof timeMs === "number" && Number.isFinite(timeMs) && Math.abs(timeMs) < 8e15 ? timeMs : nowMs,
    body,
    truncated: truncated === true,
    dropped: typeof dropped === "number" && dropped > 0 && dropped < 1e15 ? Math.floor(dropped) : 0,
  };
}
