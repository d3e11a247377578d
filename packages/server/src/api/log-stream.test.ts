import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogEntry } from "@kube-serverless/contracts";
import { openApiServer } from "./testing/open-api-server.ts";

const spec = { name: "hello", runtime: "nodejs18", handler: "index.handler", code: "1" };

function entry(message: string, requestId: string | null = null, time = "2026-01-15T10:30:00.000Z"): LogEntry {
  return { time, stream: "stdout", requestId, replica: "r1", revision: 1, message };
}

/** Reads server-sent events until so many entries have come. */
async function readEvents(response: Response, count: number): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  let text = "";
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const events = text.split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) if (event.startsWith("data: ")) entries.push(JSON.parse(event.slice(6)) as LogEntry);
    if (entries.length >= count) break;
  }
  return entries;
}

test("logs are read by tail, time and call", async (t) => {
  const api = await openApiServer(t);
  await api.send("POST", "/api/v1/functions", spec);
  for (let index = 0; index < 150; index++) api.logs.append("u1", entry(`line ${index}`, index % 2 === 0 ? "even" : "odd"));
  const read = async (query: string) => (await api.send("GET", `/api/v1/functions/hello/logs${query}`)).body as LogEntry[];
  const last = await read("");
  assert.equal(last.length, 100);
  assert.equal(last.at(-1)?.message, "line 149");
  assert.deepEqual(
    (await read("?tail=2&requestId=even")).map((line) => line.message),
    ["line 146", "line 148"],
  );
  assert.deepEqual(await read("?since=2026-01-15T10:30:01Z"), []);
  assert.equal((await read("?since=2026-01-15T11:30:00%2B01:00&tail=1000")).length, 150);
  assert.deepEqual(await read("?since=10m"), []);
  for (const query of ["?tail=-1", "?tail=x", "?tial=5", "?x=1", "?since=yesterday", "?since=2026-01-15T10:30:00", "?follow=maybe"]) {
    assert.equal((await api.send("GET", `/api/v1/functions/hello/logs${query}`)).body.code, "BAD_REQUEST", query);
  }
});

test("follow gives what was and what comes, and ends with the server", async (t) => {
  const api = await openApiServer(t);
  await api.send("POST", "/api/v1/functions", spec);
  api.logs.append("u1", entry("before"));
  const response = await api.fetch("/api/v1/functions/hello/logs?follow");
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  const reading = readEvents(response, 3);
  api.logs.append("u1", entry('now\u2028\n"x"'));
  api.logs.append("u1", entry("later"));
  const messages = (await reading).map((line) => line.message);
  assert.deepEqual(messages, ["before", 'now\u2028\n"x"', "later"]);

  const other = await api.fetch("/api/v1/functions/hello/logs?follow=true&tail=0");
  const rest = other.text();
  api.endStreams();
  assert.equal(await rest, "");
});

test("following a function ends when it is deleted", async (t) => {
  const api = await openApiServer(t);
  await api.send("POST", "/api/v1/functions", spec);
  const response = await api.fetch("/api/v1/functions/hello/logs?follow");
  const rest = response.text();
  await api.logs.remove("u1");
  assert.equal(await rest, "");
});
