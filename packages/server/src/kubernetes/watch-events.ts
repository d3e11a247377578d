import type { Readable } from "node:stream";
import { ApiError, type StatusBody } from "./api-error.ts";
import type { KubernetesObject, Persisted } from "./resource.ts";

export type WatchEvent<T extends KubernetesObject> =
  | { type: "ADDED" | "MODIFIED" | "DELETED"; object: Persisted<T> }
  | { type: "BOOKMARK"; object: Persisted<KubernetesObject> };

/** Events of a watch as they come, one JSON object a line. @throws ApiError where the server ends it with a Status, 410 above all */
export async function* readWatchEvents<T extends KubernetesObject>(stream: Readable): AsyncGenerator<WatchEvent<T>> {
  let rest: Buffer[] = [];
  for await (const piece of stream) {
    let from = 0;
    const chunk = piece as Buffer;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      rest.push(chunk.subarray(from, end));
      from = end + 1;
      const line = Buffer.concat(rest).toString();
      rest = [];
      if (line !== "") yield parseEvent<T>(line);
    }
    if (from < chunk.length) rest.push(chunk.subarray(from));
  }
}

function parseEvent<T extends KubernetesObject>(line: string): WatchEvent<T> {
  const event = JSON.parse(line) as WatchEvent<T> | { type: "ERROR"; object: StatusBody };
  if (event.type !== "ERROR") return event;
  const { code = 0, message = "The watch ended with an error" } = event.object;
  throw new ApiError({ status: code, message, body: event.object });
}
