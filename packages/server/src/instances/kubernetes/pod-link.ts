import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { createConnection, type Socket } from "node:net";
import type { Clock, Timer } from "../../clock.ts";
import { encodeFrame, FrameDecoder, FrameType, parseMeta, PROTOCOL_VERSION, ProtocolError } from "../../protocol/frames.ts";
import { NONCE_BYTES, type ProofSigner } from "../../protocol/proof.ts";

const TOKEN_BYTES = 32;
const NOTHING = Buffer.alloc(0);

/** Which pod is dialled: what the API server says of it. */
export interface PodAddress {
  uid: string;
  ip: string;
  port: number;
}

/** What a pod says of itself. Of one that may have run user code it is a hint, no more. */
export interface PodHello {
  language: string;
  version: string;
  state: "generic" | "specialised";
  /** UID of the function. */
  functionUid: string | undefined;
  revision: number | undefined;
  inFlight: number;
  /** All of it, for what one kind of pod alone says. */
  meta: Readonly<Record<string, unknown>>;
}

export interface DialOptions {
  clock: Clock;
  signer: Pick<ProofSigner, "sign">;
  /** Connecting, proof and HELLO may take so long. */
  timeoutMs: number;
}

/** What comes on a link that has not been handed over yet. */
interface Answers {
  frame(kind: number, more: boolean, meta: Buffer, body: Buffer): void;
  closed(cause: Error): void;
}

/** The connection to one pod, proven, up to the moment when a replica takes it over. */
export class PodLink {
  readonly address: PodAddress;
  readonly socket: Socket;
  readonly #clock: Clock;
  #decoder: FrameDecoder;
  #answers: Answers | undefined;
  #hello: PodHello | undefined;
  #token: Buffer | undefined;
  #taken = false;
  #closed = false;
  #pongAtMs = 0;
  #heardAtMs: number;
  #onClosed: () => void = () => undefined;
  readonly #receive = (chunk: Buffer): void => this.#push(chunk);

  /**
   * Dials a pod, proves to be a gateway, and resolves with its HELLO.
   * @throws Error that says what went wrong; the connection is closed then
   */
  static async dial(address: PodAddress, options: DialOptions): Promise<PodLink> {
    const link = new PodLink(address, options.clock);
    const timer = options.clock.setTimer(options.timeoutMs, () => link.#fail(new Error(`no HELLO within ${options.timeoutMs} ms`)));
    try {
      await link.#introduce(options.signer);
      return link;
    } catch (error) {
      link.close();
      throw new Error(`pod ${address.uid} at ${formatAddress(address)}: ${(error as Error).message}`, { cause: error });
    } finally {
      timer.cancel();
    }
  }

  private constructor(address: PodAddress, clock: Clock) {
    this.address = address;
    this.#clock = clock;
    this.#heardAtMs = clock.monotonicMs();
    this.socket = createConnection({ host: address.ip, port: address.port, noDelay: true });
    this.#decoder = new FrameDecoder((_stream, kind, more, meta, body) => this.#onFrame(kind, more, meta, body));
    this.socket.on("data", this.#receive);
    this.socket.on("error", (error) => this.#fail(error));
    this.socket.once("close", () => this.#ended(new Error("the pod closed the connection")));
    this.socket.once("end", () => this.#ended(new Error("the pod closed the connection")));
  }

  get hello(): PodHello {
    if (this.#hello === undefined) throw new Error("no HELLO yet");
    return this.#hello;
  }

  /** Another gateway was faster. */
  get taken(): boolean {
    return this.#taken;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** When the last PONG came, on the monotonic clock. */
  get pongAtMs(): number {
    return this.#pongAtMs;
  }

  /** When it last said anything. */
  get heardAtMs(): number {
    return this.#heardAtMs;
  }

  set onClosed(onClosed: () => void) {
    this.#onClosed = onClosed;
    if (this.#closed) onClosed();
  }

  /** Leaves what will tell later whether the pod has run user code meanwhile. */
  leaveToken(): void {
    this.#token = randomBytes(TOKEN_BYTES);
    this.socket.write(encodeFrame(0, FrameType.TOKEN, false, "", this.#token));
  }

  ping(): void {
    this.socket.write(encodeFrame(0, FrameType.PING, false, "", Buffer.alloc(8)));
  }

  drain(): void {
    this.socket.write(encodeFrame(0, FrameType.DRAIN, false, "", NOTHING));
  }

  /** True when the pod is still the generic one that the token was left in, and waits for SPECIALISE of this gateway alone. */
  async claim(timeoutMs: number): Promise<boolean> {
    const token = this.#token;
    this.#token = undefined;
    if (token === undefined || this.#closed || this.#taken) return false;
    const nonce = randomBytes(NONCE_BYTES);
    const expected = createHmac("sha256", token).update(nonce).digest();
    this.socket.write(encodeFrame(0, FrameType.CLAIM, false, "", nonce));
    try {
      const answer = await this.#await(FrameType.ANSWER, timeoutMs);
      return answer.body.length === expected.length && timingSafeEqual(answer.body, expected);
    } catch {
      return false;
    }
  }

  /** The socket for whoever takes the frames from now on; nothing has been read beyond this point. */
  handOver(): Socket {
    this.socket.off("data", this.#receive);
    this.#answers = undefined;
    if (this.#decoder.pendingBytes > 0) this.socket.destroy(new ProtocolError("half a frame before SPECIALISE"));
    return this.socket;
  }

  close(): void {
    this.socket.destroy();
  }

  async #introduce(signer: Pick<ProofSigner, "sign">): Promise<void> {
    const { uid } = this.address;
    const challenge = await this.#await(FrameType.CHALLENGE);
    const { protocol, uid: said } = parseMeta(challenge.meta);
    if (protocol !== PROTOCOL_VERSION) throw new Error(`protocol version ${String(protocol)}, wanted ${PROTOCOL_VERSION}`);
    if (said !== uid) throw new Error(`it says that it is ${String(said).slice(0, 64)}`);
    const signature = await signer.sign({
      role: "gateway-to-pod",
      nonce: Buffer.from(challenge.body),
      parties: [uid, formatAddress(this.address)],
    });
    this.socket.write(encodeFrame(0, FrameType.PROOF, false, "", signature));
    this.#hello = parseHello((await this.#await(FrameType.HELLO)).meta);
  }

  /** The next frame, which must be of this kind. */
  #await(wanted: number, timeoutMs?: number): Promise<{ meta: Buffer; body: Buffer }> {
    return new Promise((resolve, reject) => {
      let timer: Timer | undefined;
      const settle = (error: Error | undefined, meta: Buffer = NOTHING, body: Buffer = NOTHING): void => {
        timer?.cancel();
        this.#answers = undefined;
        if (error === undefined) resolve({ meta, body });
        else reject(error);
      };
      if (this.#closed) return settle(new Error("the pod closed the connection"));
      if (timeoutMs !== undefined) timer = this.#clock.setTimer(timeoutMs, () => settle(new Error(`no answer within ${timeoutMs} ms`)));
      this.#answers = {
        frame: (kind, _more, meta, body) => {
          if (kind === wanted) settle(undefined, meta, body);
          else if (kind === FrameType.TAKEN) settle(new Error("another gateway has taken it"));
          else settle(new ProtocolError(`type ${kind}, wanted ${wanted}`));
        },
        closed: (cause) => settle(cause),
      };
    });
  }

  #push(chunk: Buffer): void {
    this.#heardAtMs = this.#clock.monotonicMs();
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #onFrame(kind: number, more: boolean, meta: Buffer, body: Buffer): void {
    if (kind === FrameType.TAKEN) this.#taken = true;
    if (kind === FrameType.PONG) this.#pongAtMs = this.#clock.monotonicMs();
    // A pod that leaves says DRAIN; its end follows.
    else if (kind !== FrameType.DRAIN && kind !== FrameType.LOG) this.#answers?.frame(kind, more, meta, body);
  }

  #fail(error: Error): void {
    this.#ended(error);
    this.socket.destroy();
  }

  #ended(cause: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#answers?.closed(cause);
    this.#onClosed();
  }
}

/** As the pod writes its own. */
export function formatAddress({ ip, port }: PodAddress): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function parseHello(meta: Buffer): PodHello {
  const fields = parseMeta(meta);
  const { language, version, state, function: functionUid, revision, inFlight } = fields;
  return {
    language: typeof language === "string" ? language : "",
    version: typeof version === "string" ? version.slice(0, 64) : "",
    state: state === "generic" ? "generic" : "specialised",
    functionUid: typeof functionUid === "string" ? functionUid : undefined,
    revision: typeof revision === "number" ? revision : undefined,
    inFlight: typeof inFlight === "number" && inFlight >= 0 ? inFlight : 0,
    meta: fields,
  };
}
