import { randomBytes } from "node:crypto";
import { NONCE_BYTES, type ProofClaim, type ProofSigner, type ProofVerifier } from "../protocol/proof.ts";
import { parseMeta, ProtocolError } from "../protocol/frames.ts";
import type { PeerChannel } from "./channel.ts";
import { PEER_PROTOCOL, PeerFrame } from "./wire.ts";

/** A gateway: its name, and `host:port` where it listens to others. */
export interface PeerIdentity {
  readonly id: string;
  readonly address: string;
}

/** The keys of all gateways together, as they are now. */
export interface PeerKeys {
  readonly signer: ProofSigner;
  readonly verifier: ProofVerifier;
}

/** Whoever is on the other side is not who it should be. */
export class UnprovenPeerError extends Error {
  override readonly name = "UnprovenPeerError";
}

/**
 * Proves this gateway to the one it has dialled, and lets that one prove itself, before anything else is said.
 * @throws UnprovenPeerError, ProtocolError, or why the connection ended
 */
export async function proveAsDialler(channel: PeerChannel, self: PeerIdentity, listener: PeerIdentity, keys: PeerKeys): Promise<void> {
  const hello = readHello((await channel.expect(PeerFrame.HELLO)).meta);
  if (hello.id !== listener.id || hello.address !== listener.address) {
    throw new UnprovenPeerError(`${listener.id} was dialled at ${listener.address}, ${hello.id} of ${hello.address} answers`);
  }
  const challenge = randomBytes(NONCE_BYTES);
  const proof = await keys.signer.sign(claimOfDialler(self, listener, hello.nonce));
  channel.send(0, PeerFrame.HELLO, false, writeHello(self, challenge), proof);
  const answer = await channel.expect(PeerFrame.PROOF);
  const proven = await keys.verifier.verify(claimOfListener(listener, self, challenge), answer.body);
  if (!proven) throw new UnprovenPeerError(`${listener.id} does not have the signing key`);
}

/**
 * Lets whoever has dialled prove itself, then proves this gateway: before, nothing leaves but its name and a nonce.
 * @throws UnprovenPeerError, ProtocolError, or why the connection ended
 */
export async function proveAsListener(channel: PeerChannel, self: PeerIdentity, keys: PeerKeys): Promise<PeerIdentity> {
  const challenge = randomBytes(NONCE_BYTES);
  channel.send(0, PeerFrame.HELLO, false, writeHello(self, challenge));
  const { meta, body } = await channel.expect(PeerFrame.HELLO);
  const { id, address, nonce } = readHello(meta);
  const dialler: PeerIdentity = { id, address };
  if (hostOf(address) !== unmapped(channel.remoteAddress)) {
    throw new UnprovenPeerError(`${id} says it is at ${address} and comes from ${channel.remoteAddress}`);
  }
  if (id === self.id) throw new UnprovenPeerError(`${id} is this gateway's own name`);
  const proven = await keys.verifier.verify(claimOfDialler(dialler, self, challenge), body);
  if (!proven) throw new UnprovenPeerError(`${id} does not have the signing key`);
  channel.send(0, PeerFrame.PROOF, false, "", await keys.signer.sign(claimOfListener(self, dialler, nonce)));
  return dialler;
}

function claimOfDialler(dialler: PeerIdentity, listener: PeerIdentity, nonce: Buffer): ProofClaim {
  return claim(nonce, ["dialler", dialler.id, dialler.address, listener.id, listener.address]);
}

function claimOfListener(listener: PeerIdentity, dialler: PeerIdentity, nonce: Buffer): ProofClaim {
  return claim(nonce, ["listener", listener.id, listener.address, dialler.id, dialler.address]);
}

function claim(nonce: Buffer, parties: readonly string[]): ProofClaim {
  return { role: "gateway-to-gateway", nonce, parties };
}

function writeHello({ id, address }: PeerIdentity, nonce: Buffer): string {
  return JSON.stringify({ protocol: PEER_PROTOCOL, id, address, nonce: nonce.toString("base64") });
}

function readHello(meta: Buffer): PeerIdentity & { nonce: Buffer } {
  const { protocol, id, address, nonce } = parseMeta(meta);
  if (protocol !== PEER_PROTOCOL) throw new ProtocolError(`protocol ${String(protocol)} is not spoken here`);
  if (!isName(id) || !isName(address) || typeof nonce !== "string") throw new ProtocolError("a HELLO without its names");
  const bytes = Buffer.from(nonce, "base64");
  if (bytes.length !== NONCE_BYTES) throw new ProtocolError("a nonce of the wrong length");
  return { id, address, nonce: bytes };
}

/** What may be a party of a proof. */
function isName(value: unknown): value is string {
  return typeof value === "string" && value.length <= 256 && /^[!-~]+$/.test(value);
}

/** `10.0.0.1:8081` → `10.0.0.1`, `[fd00::1]:8081` → `fd00::1`. */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
}

export function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}

/** An IPv4 address as a socket of both families tells it. */
function unmapped(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/, "");
}
