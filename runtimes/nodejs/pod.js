"use strict";

const net = require("node:net");
const { readFileSync, readdirSync } = require("node:fs");
const { setTimeout } = require("./builtins.js");
const { ProtocolError, TYPE } = require("./frames.js");
const { Peer } = require("./peer.js");

const MAX_UNPROVEN = 16;
const MAX_PROVEN = 64;
const PROOF_TIMEOUT_MS = 5000;
/** Whoever claims sends SPECIALISE as soon as it has the answer. */
const CLAIM_TIMEOUT_MS = 2000;

/** The pod's side of TCP: who may speak to the replica, and who specialises it. */
class Pod {
  #replica;
  #uid;
  #address;
  #keysPath;
  #unproven = new Set();
  #proven = new Set();
  /** Who has claimed the replica and is about to specialise it. */
  #claimant = null;

  /**
   * @param options `uid` and `ip` of the pod, `listen` such as `0.0.0.0:7070`, `keysPath` of the gateways' public keys
   */
  constructor(replica, { uid, ip, listen, keysPath }) {
    this.#replica = replica;
    this.#uid = uid;
    this.#keysPath = keysPath;
    const { host, port } = splitAddress(listen);
    this.#address = joinAddress(ip, port);
    replica.readPeakMiB = findPeakReader();
    this.server = net.createServer({ pauseOnConnect: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 }, (socket) =>
      this.#accept(socket),
    );
    this.server.listen({ host, port });
  }

  get replica() {
    return this.#replica;
  }

  get keysPath() {
    return this.#keysPath;
  }

  /** What a gateway signs beside the nonce. */
  get parties() {
    return [this.#uid, this.#address];
  }

  #accept(socket) {
    const { _handle: handle } = socket;
    // The replica's transport reads and writes by itself; this wrapper only brought the connection.
    socket._handle = null;
    if (handle === null) return;
    if (this.#unproven.size >= MAX_UNPROVEN) this.drop(this.#unproven.values().next().value);
    const peer = new Peer(this, handle);
    this.#unproven.add(peer);
    setTimeout(() => {
      if (this.#unproven.has(peer)) this.drop(peer);
    }, PROOF_TIMEOUT_MS).unref();
    peer.challenge(this.#uid);
  }

  /** The peer is a gateway. */
  admit(peer) {
    this.#unproven.delete(peer);
    if (this.#proven.size >= MAX_PROVEN) throw new ProtocolError("too many gateways");
    this.#proven.add(peer);
  }

  /** False while another gateway's claim holds. */
  reserve(peer) {
    if (this.#claimant !== null) return this.#claimant === peer;
    this.#claimant = peer;
    setTimeout(() => {
      if (this.#claimant === peer) this.drop(peer);
    }, CLAIM_TIMEOUT_MS).unref();
    return true;
  }

  isReservedFor(peer) {
    return this.#claimant === peer;
  }

  drop(peer) {
    if (this.#claimant === peer) this.#claimant = null;
    this.#unproven.delete(peer);
    this.#proven.delete(peer);
    peer.close();
  }

  /** Before any user code runs: every token is forgotten, every other gateway sent away. */
  becomeTaken(winner) {
    this.#claimant = null;
    for (const peer of [...this.#proven]) {
      peer.forget();
      if (peer === winner) continue;
      peer.send(TYPE.TAKEN);
      this.drop(peer);
    }
  }
}

function splitAddress(address) {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(address.slice(at + 1)) };
}

function joinAddress(ip, port) {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Folders in which a function may have left something. @throws Error */
function requireEmpty(folders) {
  for (const folder of folders) {
    const found = readdirSync(folder);
    if (found.length > 0) throw new Error(`${folder} is not empty: this container was used before, its pod is to be deleted`);
  }
}

const PEAK_FILES = ["/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"];

function findPeakReader() {
  for (const path of PEAK_FILES) {
    const read = () => {
      try {
        return Math.ceil(Number(readFileSync(path, "utf8")) / 1_048_576);
      } catch {
        return undefined;
      }
    };
    if (read() !== undefined) return read;
  }
  return null;
}

module.exports = { Pod, requireEmpty };
