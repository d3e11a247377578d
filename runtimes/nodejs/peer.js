"use strict";

const { bytesFill } = require("./builtins.js");
const { copyBytes } = require("./call.js");
const { FrameParser, FrameWriter, MAX_FRAME_LENGTH, MORE, ProtocolError, TYPE } = require("./frames.js");
const { NONCE_BYTES, ROLE, SIGNATURE_BYTES, answerWithToken, randomBytes, readPublicKeys, verifyProof } = require("./proof.js");
const { SocketTransport } = require("./transport.js");

const TOKEN_BYTES = 32;
const MAX_UNPROVEN_LENGTH = 1024;

/** Who has dialled a pod: nobody until it has proven to be a gateway, then one that may claim, then one whose calls are served. */
class Peer {
  #pod;
  #transport;
  #writer;
  #parser;
  #nonce = randomBytes(NONCE_BYTES);
  #proven = false;
  #token = null;
  /** Set from SPECIALISE on: its frames are the replica's. */
  #connection = null;
  #closed = false;

  constructor(pod, handle) {
    this.#pod = pod;
    this.#parser = new FrameParser((kind, stream, bytes, metaStart, bodyStart, end) =>
      this.#receive(kind, stream, bytes, metaStart, bodyStart, end),
    );
    this.#parser.maxLength = MAX_UNPROVEN_LENGTH;
    this.#transport = new SocketTransport(
      { handle },
      (bytes, length) => this.#push(bytes, length),
      () => pod.drop(this),
    );
    this.#transport.onDrained = () => pod.replica.log.reportDropped();
    this.#writer = new FrameWriter(this.#transport);
  }

  challenge(uid) {
    this.#writer.bytes(TYPE.CHALLENGE, 0, `{"protocol":1,"uid":"${uid}"}`, this.#nonce, 0, NONCE_BYTES);
    this.#writer.flush();
  }

  send(type) {
    this.#writer.text(type, 0, "", "");
    this.#writer.flush();
  }

  /** Nothing that has run user code can answer for it. */
  forget() {
    if (this.#token !== null) bytesFill(this.#token, 0);
    this.#token = null;
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.forget();
    if (this.#connection === null) this.#transport.close();
    else this.#pod.replica.detach(this.#connection);
  }

  #push(bytes, length) {
    try {
      this.#parser.push(bytes, length);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#pod.drop(this);
    }
  }

  #receive(kind, stream, bytes, metaStart, bodyStart, end) {
    // What follows in the same chunk once the peer was sent away.
    if (this.#closed) return;
    if (this.#connection !== null) {
      if (kind === TYPE.TOKEN || kind === TYPE.CLAIM) throw new ProtocolError("the pod is not generic any more");
      this.#connection.receive(kind, stream, bytes, metaStart, bodyStart, end);
    } else if (!this.#proven) this.#onProof(kind, copyBytes(bytes, bodyStart, end));
    else this.#onGeneric(kind, stream, bytes, metaStart, bodyStart, end);
  }

  #onProof(kind, signature) {
    const nonce = this.#nonce;
    this.#nonce = null;
    if (kind !== TYPE.PROOF || signature.length !== SIGNATURE_BYTES || nonce === null) throw new ProtocolError("no proof");
    if (!verifyProof(this.#readKeys(), ROLE, nonce, this.#pod.parties, signature)) throw new ProtocolError("a wrong proof");
    this.#pod.admit(this);
    this.#proven = true;
    this.#parser.maxLength = MAX_FRAME_LENGTH;
    const { replica } = this.#pod;
    if (replica.isSpecialised) this.#connection = replica.attach(this.#transport);
    replica.hello(this.#connection ?? { writer: this.#writer }, replica.describeState());
  }

  #readKeys() {
    try {
      return readPublicKeys(this.#pod.keysPath);
    } catch (error) {
      process.stderr.write(`The gateways' public keys cannot be read: ${error.message}\n`);
      throw new ProtocolError("no keys");
    }
  }

  #onGeneric(kind, stream, bytes, metaStart, bodyStart, end) {
    const { replica } = this.#pod;
    switch (kind & ~MORE) {
      case TYPE.TOKEN:
        if (end - bodyStart !== TOKEN_BYTES || this.#token !== null) throw new ProtocolError("no token");
        this.#token = copyBytes(bytes, bodyStart, end);
        // Nor may a copy lie where user code finds it.
        bytesFill(bytes, 0, bodyStart, end);
        break;
      case TYPE.CLAIM:
        this.#onClaim(bytes, bodyStart, end);
        break;
      case TYPE.PING:
        this.#writer.bytes(TYPE.PONG, 0, replica.describeLoad(), bytes, bodyStart, end);
        break;
      case TYPE.DRAIN:
        replica.leave();
        break;
      case TYPE.SPECIALISE:
        if (!this.#pod.isReservedFor(this)) throw new ProtocolError("SPECIALISE without a claim");
        this.#pod.becomeTaken(this);
        this.#connection = replica.attach(this.#transport);
        this.#connection.receive(kind, stream, bytes, metaStart, bodyStart, end);
        break;
      default:
        throw new ProtocolError(`kind ${kind} to a generic pod`);
    }
  }

  #onClaim(bytes, start, end) {
    if (this.#token === null || end - start !== NONCE_BYTES) throw new ProtocolError("no claim");
    if (!this.#pod.reserve(this)) {
      this.send(TYPE.TAKEN);
      this.#pod.drop(this);
      return;
    }
    const answer = answerWithToken(this.#token, copyBytes(bytes, start, end));
    this.#writer.bytes(TYPE.ANSWER, 0, "", answer, 0, answer.length);
    this.#writer.flush();
  }
}

module.exports = { Peer };
