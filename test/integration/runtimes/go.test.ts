import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import { GOS, type Go, ping, useGoShims } from "./gos.ts";

const WINDOW_BYTES = 262_144;

const FORMS = [
  { handler: "func Handler(event map[string]any) (any, error) { return event[`body`], nil }", json: { n: 1 } },
  { handler: "func Handler(event any) any { return event.(map[string]any)[`body`] }", json: { n: 1 } },
  { handler: "type Event map[string]interface{}\nfunc Handler(event Event) any { return event[`body`] }", json: { n: 1 } },
  { handler: "func Handler() (string, error) { return `x`, nil }", text: "x" },
  { handler: "func Handler() int { return 7 }", json: 7 },
  { handler: "func Handler() {}", json: null },
  { handler: "func Handler(event map[string]any) error { return nil }", json: null },
  { handler: "func Handler(event map[string]any) *int { return nil }", json: null },
  { handler: 'import "context"\nfunc Handler(ctx context.Context) bool { return ctx != nil }', json: true },
  {
    handler:
      'import "context"\ntype E struct { Body struct { N int `json:"n"` } `json:"body"`; Raw []byte `json:"rawBody"` }\nfunc Handler(ctx context.Context, e *E) (any, error) { return []any{e.Body.N, string(e.Raw)}, nil }',
    json: [1, '{"n":1}'],
  },
  {
    handler:
      'type E struct { Method, Path string; Headers map[string]string; RawBody string `json:"rawBody"`; Trigger struct { Type string } }\nfunc Handler(e E) any { return []string{e.Method, e.Path, e.Headers["content-type"], e.RawBody, e.Trigger.Type} }',
    json: ["POST", "/invoke", "application/json", '{"n":1}', "invoke"],
  },
  {
    handler:
      'import "encoding/json"\nfunc Handler(e json.RawMessage) (any, error) { var m map[string]any; err := json.Unmarshal(e, &m); return m["body"], err }',
    json: { n: 1 },
  },
  { handler: "var Handler = func(event map[string]any) any { return 1 }", json: 1 },
  { handler: "func main() { panic(1) }\nfunc Handler() any { return 1 }", json: 1 },
] as const;

for (const go of GOS) {
  describe(go.name, { skip: go.missing ?? false }, () => {
    describeForms(go);
    describeResponses(go);
    describeHttp(go);
    describeStreams(go);
  });
}

function describeForms(go: Go): void {
  const load = useGoShims(go);
  for (const form of FORMS) {
    test(`takes ${form.handler.replaceAll("\n", " ").slice(0, 90)}`, async () => {
      const shim = await load(form.handler);
      const { head, body, error } = await shim.call('{"n":1}');
      assert.equal(head?.kind, 200, JSON.stringify(error));
      if ("text" in form) assert.equal(body.toString(), form.text);
      else assert.deepEqual(JSON.parse(body.toString()), form.json);
    });
  }

  const unsupported = [
    "func Handler(a, b int) any { return 1 }",
    "func Handler(event string) any { return 1 }",
    "func Handler(events ...map[string]any) any { return 1 }",
    "func Handler() (int, int) { return 1, 2 }",
    "func Handler() chan int { return nil }",
    "const Handler = 7",
    "var Handler func()",
  ];
  for (const code of unsupported) {
    test(`refuses ${code}`, async (t) => {
      const shim = await go.start(`package main\n${code}`);
      t.after(() => shim.stop());
      const { kind, meta } = await shim.specialise({ code, handler: "Handler" });
      assert.equal(kind, FrameType.FAILED);
      assert.equal(meta["reason"], "UnsupportedHandler");
      assert.match(String(meta["message"]), /^UnsupportedHandler: Handler is /);
      assert.equal((await shim.exited).code, 1);
    });
  }

  test("an event that does not fit the type is the function's error, naming the field", async () => {
    const shim = await load('type E struct { Body struct { N int `json:"n"` } `json:"body"` }\nfunc Handler(e E) any { return e.Body.N }');
    const { error } = await shim.call('{"n":"one"}');
    assert.equal(error?.["code"], "FUNCTION_ERROR");
    assert.match(String(error?.["message"]), /cannot unmarshal string .*body\.n/i);
    assert.equal((await shim.call("{bad")).error?.["code"], "INVALID_REQUEST");
    assert.deepEqual((await shim.call('{"n":3}')).body.toString(), "3");
  });
}

function describeResponses(go: Go): void {
  const load = useGoShims(go);

  test("structs, pointers and named types are responses by their JSON names", async () => {
    const shim = await load(`
      type Base struct { Status int \`json:"statusCode"\` }
      type Response struct {
        Base
        Headers map[string][]string \`json:"headers,omitempty"\`
        Cookies []string \`json:"cookies"\`
        Body any \`json:"body"\`
      }
      func Handler(event map[string]any) (*Response, error) {
        return &Response{Base{201}, map[string][]string{"B": {"1", "2"}, "A": {"x"}}, []string{"c=1"}, event["body"]}, nil
      }`);
    const { head, body } = await shim.call('{"a":1}');
    assert.equal(head?.kind, 201);
    assert.deepEqual(head?.meta["headers"], ["A", "x", "B", "1", "B", "2", "set-cookie", "c=1"]);
    assert.equal(body.toString(), '{"a":1}');
  });

  test("a struct without a statusCode is data, with what is not finite as null", async () => {
    const shim = await load(
      'import "math"\ntype R struct { A float64; B string `json:"b"` }\nfunc Handler() R { return R{math.Inf(1), "<&>"} }',
    );
    assert.equal((await shim.call()).body.toString(), '{"A":null,"b":"<&>"}');
  });

  test("a response larger than a window waits for credit", async () => {
    const shim = await load('import "strings"\nfunc Handler() string { return strings.Repeat("x", 2000000) }');
    const stream = shim.sendCall();
    const received = (): number => shim.frames.filter((frame) => frame.stream === stream).reduce((sum, { body }) => sum + body.length, 0);
    await shim.until("a window", () => received() >= WINDOW_BYTES + 65_536);
    await ping(shim);
    assert.equal(received(), WINDOW_BYTES + 65_536);
    shim.credit(stream, 10);
    await shim.until("ten more", () => received() === WINDOW_BYTES + 65_546);
    assert.equal((await shim.answer(stream)).body.length, 2_000_000);
  });

  test("headers that no frame can carry are an error", async () => {
    const shim = await load(
      'import "strings"\nfunc Handler() any { return map[string]any{"statusCode": 200, "headers": map[string]string{"a": strings.Repeat("x", 70000)}} }',
    );
    assert.match(String((await shim.call()).error?.["message"]), /headers are too large/);
  });
}

function describeHttp(go: Go): void {
  const load = useGoShims(go);

  test("http.HandlerFunc gets the request and gives the response", async () => {
    const shim = await load(`
      import ("encoding/json"; "io"; "net/http")
      func Handler(w http.ResponseWriter, r *http.Request) {
        body, _ := io.ReadAll(r.Body)
        w.Header().Set("Content-Type", "application/json")
        w.Header().Add("X-A", "1")
        w.Header().Add("X-A", "2")
        w.WriteHeader(202)
        json.NewEncoder(w).Encode([]any{r.Method, r.URL.Path, r.URL.Query()["q"], r.Host, r.Header.Get("x-b"), string(body), r.ContentLength, r.Context().Value("requestId")})
      }`);
    const { head, body } = await shim.call("{not json", {
      method: "PUT",
      path: "/a%20b/c",
      query: { q: ["1", "ä&"] },
      headers: { host: "h.example", "x-b": "y", "content-type": "application/json" },
      trigger: { type: "http" },
    });
    assert.equal(head?.kind, 202);
    assert.equal(head?.meta["kind"], "json");
    assert.deepEqual(head?.meta["headers"], ["content-type", "application/json", "x-a", "1", "x-a", "2"]);
    assert.deepEqual(JSON.parse(body.toString()), ["PUT", "/a b/c", ["1", "ä&"], "h.example", "y", "{not json", 9, "request-1"]);
  });

  const bodies = [
    { write: "", kind: "none", headers: [], status: 200 },
    { write: 'w.Write([]byte("hallo ö"))', kind: "text", headers: ["content-type", "text/plain; charset=utf-8"], status: 200 },
    { write: 'w.Write([]byte("\\x89PNG\\r\\n\\x1a\\n"))', kind: "binary", headers: ["content-type", "image/png"], status: 200 },
    { write: "http.Error(w, `no`, 404)", kind: "text", status: 404 },
    { write: "http.Redirect(w, r, `/there`, 302)", kind: "none", status: 302 },
    { write: "w.WriteHeader(204)", kind: "none", headers: [], status: 204 },
    { write: "w.WriteHeader(103); w.WriteHeader(201)", kind: "none", headers: [], status: 201 },
  ];
  for (const { write, kind, headers, status } of bodies) {
    test(`a handler that does ${write || "nothing"}`, async () => {
      const shim = await load(`import "net/http"\nfunc Handler(w http.ResponseWriter, r *http.Request) { ${write} }`);
      const { head } = await shim.call("", { trigger: { type: "http" } });
      assert.equal(head?.kind, status);
      assert.equal(head?.meta["kind"], kind);
      if (headers !== undefined) assert.deepEqual(head?.meta["headers"] ?? [], headers);
    });
  }

  // Requests have path values since Go 1.22.
  const parameter = go.line === "1.19" ? '""' : 'r.PathValue("id")';
  test("path parameters and the caller's address are the request's", async () => {
    const shim = await load(
      `import "net/http"\nfunc Handler(w http.ResponseWriter, r *http.Request) { w.Write([]byte(${parameter} + " " + r.RemoteAddr)) }`,
    );
    const { body } = await shim.call("", { params: { id: "7" }, headers: { "x-forwarded-for": "10.0.0.1, 10.0.0.2" } });
    assert.equal(body.toString(), go.line === "1.19" ? " 10.0.0.1:0" : "7 10.0.0.1:0");
  });

  test("what is flushed is sent at once, and a panic later cuts the response off", async () => {
    const shim = await load(`
      import "net/http"
      var more = make(chan bool)
      func Handler(w http.ResponseWriter, r *http.Request) {
        if r.Method == "PUT" { more <- true; return }
        w.Write([]byte("one"))
        w.(http.Flusher).Flush()
        <-more
        w.Write([]byte("two"))
        w.(http.Flusher).Flush()
        <-more
        panic("broken")
      }`);
    const stream = shim.sendCall("", { method: "GET" });
    const first = await shim.wait("the head", (frame) => frame.stream === stream);
    assert.equal(first.body.toString(), "one");
    assert.equal(first.more, true);
    await shim.call("", { method: "PUT" });
    await shim.wait("the second piece", (frame) => frame.stream === stream && frame.body.toString() === "two");
    await shim.call("", { method: "PUT" });
    assert.equal((await shim.answer(stream)).abort?.["message"], "broken");
  });

  test("an http.Handler with routes, and a large body", async () => {
    const shim = await load(`
      import ("net/http"; "bytes")
      var Handler = http.NewServeMux()
      func init() {
        Handler.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.Repeat([]byte("ab"), 1000000)) })
      }`);
    assert.equal((await shim.call("", { path: "/big" })).body.length, 2_000_000);
    assert.equal((await shim.call("", { path: "/none" })).head?.kind, 404);
  });
}

function describeStreams(go: Go): void {
  const load = useGoShims(go);

  test("a reader is read as far as there is credit, and closed when the caller goes", async () => {
    const shim = await load(`
      import "os"
      type endless struct{ closed bool }
      var last *endless
      var read int
      func (e *endless) Read(p []byte) (int, error) { read += len(p); return len(p), nil }
      func (e *endless) Close() error { e.closed = true; os.Stdout.WriteString("closed\\n"); return nil }
      func Handler(event map[string]any) any {
        if event["method"] == "GET" { return read }
        last = &endless{}
        return map[string]any{"statusCode": 200, "headers": map[string]string{"content-type": "text/plain"}, "body": last}
      }`);
    const stream = shim.sendCall();
    const received = (): number => shim.frames.filter((frame) => frame.stream === stream).reduce((sum, { body }) => sum + body.length, 0);
    await shim.until("a window", () => received() >= WINDOW_BYTES);
    const read = Number((await shim.call("", { method: "GET" })).body.toString());
    assert(read <= WINDOW_BYTES + 65_536 + 65_536, `read ${read}`);
    shim.send(FrameType.CANCEL, stream);
    assert.equal((await shim.answer(stream)).abort?.["message"], "the caller went away");
    await shim.until("close", () => shim.printed.includes("closed"));
  });

  test("a pipe that nobody writes to ends when the caller goes", async () => {
    const shim = await load(`
      import "io"
      func Handler() io.Reader {
        r, w := io.Pipe()
        go func() { w.Write([]byte("begun")); w.Write([]byte("never read")) }()
        return r
      }`);
    const stream = shim.sendCall();
    await shim.wait("the head", (frame) => frame.stream === stream && frame.kind === 200);
    await shim.wait("the second piece", (frame) => frame.stream === stream && frame.kind === FrameType.DATA);
    shim.send(FrameType.CANCEL, stream);
    const { abort } = await shim.answer(stream);
    assert.equal(abort?.["message"], "the caller went away");
  });

  test("an empty reader is an empty body", async () => {
    const shim = await load('import "strings"\nfunc Handler() any { return strings.NewReader("") }');
    const { head, body } = await shim.call();
    assert.equal(head?.kind, 200);
    assert.equal(head?.more, false);
    assert.equal(body.length, 0);
  });

  test("a request of 6 MiB arrives whole, credit given on the way", async () => {
    const shim = await load('func Handler(event map[string]any) any { return len(event["rawBody"].([]byte)) }');
    const bytes = Buffer.alloc(6 * 1024 * 1024, "x");
    const stream = shim.sendCall(bytes, { headers: { "content-type": "text/plain" } });
    assert.equal((await shim.answer(stream)).body.toString(), String(bytes.length));
    const credit = shim.frames
      .filter((frame) => frame.stream === stream && frame.kind === FrameType.CREDIT)
      .reduce((sum, { body }) => sum + body.readUInt32BE(0), 0);
    assert(credit >= bytes.length - WINDOW_BYTES - 65_536, `credit ${credit}`);
  });
}
