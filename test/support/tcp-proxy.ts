import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** `up`: what the client sends. `down`: what the server answers. */
export type Direction = "up" | "down";

interface Pair {
  client: Socket;
  server: Socket;
}

/** A TCP proxy on loopback whose network can be made to fail. */
export class TcpProxy {
  readonly #listener: Server;
  readonly #pairs = new Set<Pair>();
  readonly #swallowed = new Set<Direction>();
  readonly #targetPort: number;
  #refusing = false;
  #tearing = false;
  #delayMs = 0;

  private constructor(listener: Server, targetPort: number) {
    this.#listener = listener;
    this.#targetPort = targetPort;
    listener.on("connection", (client) => this.#join(client));
  }

  static async start(targetPort: number): Promise<TcpProxy> {
    const listener = createServer().listen(0, "127.0.0.1");
    await once(listener, "listening");
    return new TcpProxy(listener, targetPort);
  }

  get port(): number {
    return (this.#listener.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** From now on nothing comes through that way, on old and new connections, and nobody is told: half-open, or a lost confirm or ack. */
  swallow(...directions: Direction[]): void {
    for (const direction of directions) this.#swallowed.add(direction);
  }

  /** Ends every connection with a reset. */
  reset(): void {
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  /** New connections are reset at once, as if nothing listened. */
  refuse(): void {
    this.#refusing = true;
    this.reset();
  }

  /** The next bytes of each connection come through by half, and then it is reset. */
  tear(): void {
    this.#tearing = true;
  }

  /** From now on all bytes are so late, in their order. */
  delay(delayMs: number): void {
    this.#delayMs = delayMs;
  }

  /** New connections work again, and at once; those that swallowed bytes cannot be healed, so they are reset. */
  heal(): void {
    this.#refusing = false;
    this.#tearing = false;
    this.#delayMs = 0;
    if (this.#swallowed.size > 0) this.reset();
    this.#swallowed.clear();
  }

  async stop(): Promise<void> {
    this.#listener.close();
    this.reset();
    await once(this.#listener, "close");
  }

  #join(client: Socket): void {
    if (this.#refusing) return void client.resetAndDestroy();
    const server = connect(this.#targetPort, "127.0.0.1");
    const pair = { client, server };
    this.#pairs.add(pair);
    this.#relay(client, server, "up");
    this.#relay(server, client, "down");
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => this.#part(pair));
    }
  }

  /** While bytes are swallowed the end of one side is, too: the other goes on believing in the connection. */
  #part(pair: Pair): void {
    const bothClosed = pair.client.destroyed && pair.server.destroyed;
    if (this.#swallowed.size > 0 && !bothClosed) return;
    this.#pairs.delete(pair);
    pair.client.destroy();
    pair.server.destroy();
  }

  #tearNow(to: Socket, bytes: Buffer): void {
    this.#tearing = false;
    to.write(bytes.subarray(0, bytes.length >> 1), () => this.reset());
  }

  #relay(from: Socket, to: Socket, direction: Direction): void {
    let lastAtMs = 0;
    const pass = (bytes: Buffer): void => {
      if (!this.#swallowed.has(direction) && to.writable) to.write(bytes);
    };
    from.on("data", (bytes) => {
      if (this.#tearing) return this.#tearNow(to, bytes);
      // What comes after what is late is late, too, or it would overtake it.
      lastAtMs = Math.max(lastAtMs, performance.now() + this.#delayMs);
      const waitMs = lastAtMs - performance.now();
      if (waitMs <= 0) pass(bytes);
      else setTimeout(pass, waitMs, bytes);
    });
  }
}
