import { once } from "node:events";
import http, { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import https from "node:https";

export interface Question {
  method?: string;
  /** Absolute, as it goes into the request line. */
  path: string;
  headers?: Readonly<Record<string, string | readonly string[]>>;
  /** An object goes as JSON with its content type; text and bytes go as they are, with none. */
  body?: unknown;
}

/** A response that was read to its end. */
export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  rawHeaders: string[];
  bytes: Buffer;
  text: string;
  /** Parsed anew at each use. @throws where the body is no JSON */
  // oxlint-disable-next-line typescript/no-explicit-any -- an answer is what the test is about: it asserts on whatever came.
  readonly json: any;
}

/** A request whose response is read by the test itself. */
export interface Exchange {
  request: ClientRequest;
  response: IncomingMessage;
}

/** Plain HTTP by node:http, which sends and shows bytes as they are. */
export class Client {
  readonly #base: URL;
  readonly #key: string | undefined;
  readonly #agent: http.Agent;

  constructor(url: string, key: string | undefined) {
    this.#base = new URL(url);
    this.#key = key;
    const options = { keepAlive: true, maxSockets: 2048 };
    this.#agent = this.#base.protocol === "https:" ? new https.Agent(options) : new http.Agent(options);
  }

  /** Headers that show who asks; none where the platform asks for none. */
  get authorization(): Record<string, string> {
    return this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` };
  }

  /** The same as lines of a head that a test writes itself. */
  get authorizationLines(): string {
    return Object.entries(this.authorization)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join("");
  }

  /** Sends the head alone; the test writes the body and ends it. */
  begin({ method, path, headers }: Question): ClientRequest {
    const { protocol, hostname, port } = this.#base;
    const open = protocol === "https:" ? https.request : http.request;
    const request = open({
      agent: this.#agent,
      hostname: hostname.replaceAll(/^\[|\]$/g, ""),
      port,
      method: method ?? "GET",
      path,
      headers: { ...this.authorization, ...(headers as Record<string, string | string[]> | undefined) },
    });
    request.on("error", () => undefined);
    return request;
  }

  /** Sends a request and resolves with the head of its response. */
  async open(question: Question): Promise<Exchange> {
    const { body, headers = {} } = question;
    const isRaw = typeof body === "string" || Buffer.isBuffer(body);
    const payload = body === undefined ? undefined : isRaw ? Buffer.from(body as string) : Buffer.from(JSON.stringify(body));
    const type = body === undefined || isRaw || "content-type" in headers ? {} : { "content-type": "application/json" };
    const length = payload === undefined || "transfer-encoding" in headers ? {} : { "content-length": String(payload.length) };
    const request = this.begin({ ...question, headers: { ...length, ...type, ...headers } });
    request.end(payload);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    return { request, response };
  }

  async send(question: Question): Promise<Answer> {
    const { response } = await this.open(question);
    return readAnswer(response);
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Reads a response to its end. @throws when it is cut */
export async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  const text = bytes.toString("utf8");
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    rawHeaders: response.rawHeaders,
    bytes,
    text,
    get json(): unknown {
      return JSON.parse(text);
    },
  };
}
