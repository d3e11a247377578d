import { createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../clock.ts";
import { PeerChannel } from "./channel.ts";
import { hostOf, type PeerIdentity, type PeerKeys, portOf, proveAsListener } from "./handshake.ts";
import { InboundConnection, type InboundService } from "./inbound-connection.ts";

const PROOF_TIMEOUT_MS = 2000;
/** Connections that have proven nothing yet; more are closed at once. */
const MAX_UNPROVEN = 64;

export interface ListenerOptions {
  self: PeerIdentity;
  clock: Clock;
  keys(): PeerKeys;
  service: InboundService;
  /** Somebody came and was not who it should be. */
  onRefused(address: string, error: Error): void;
}

/** Where other gateways dial in: who does not prove to have the signing key gets a nonce and nothing else. */
export class PeerListener {
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #connections = new Set<InboundConnection>();
  readonly #unproven = new Set<PeerChannel>();

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** @throws what listening throws */
  async start(): Promise<void> {
    const { address } = this.#options.self;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host: hostOf(address), port: portOf(address) }, () => resolve());
    });
  }

  /** Tells every gateway that has dialled how this one is. */
  announce(): void {
    for (const connection of this.#connections) connection.announce();
  }

  async stop(): Promise<void> {
    const reason = new Error("this gateway has ended");
    for (const channel of this.#unproven) channel.close(reason);
    for (const connection of this.#connections) connection.close(reason);
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    socket.on("error", () => undefined);
    if (this.#unproven.size >= MAX_UNPROVEN) return void socket.destroy();
    const channel = new PeerChannel(socket);
    this.#unproven.add(channel);
    this.#prove(channel)
      .catch((error: Error) => {
        channel.close(error);
        this.#options.onRefused(channel.remoteAddress, error);
      })
      .finally(() => this.#unproven.delete(channel));
  }

  async #prove(channel: PeerChannel): Promise<void> {
    const { self, clock, keys, service } = this.#options;
    const timer = clock.setTimer(PROOF_TIMEOUT_MS, () => channel.close(new Error(`no proof within ${PROOF_TIMEOUT_MS} ms`)));
    try {
      const peer = await proveAsListener(channel, self, keys());
      const connection = new InboundConnection(peer, channel, service);
      this.#connections.add(connection);
      void channel.closed.then(() => this.#connections.delete(connection));
    } finally {
      timer.cancel();
    }
  }
}
