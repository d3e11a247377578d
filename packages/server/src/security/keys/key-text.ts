import { hash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

/** Begins every key, so that scanners of code and logs can find one that leaked. */
export const KEY_PREFIX = "ksk_";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LENGTH = 12;
/** 62^43 is just over 2^256. */
const SECRET_LENGTH = 43;
const CHECKSUM_LENGTH = 6;
const KEY = /^ksk_([0-9A-Za-z]{12})_[0-9A-Za-z]{43}([0-9A-Za-z]{6})$/;

/** `ksk_<id>_<secret><checksum>`: the id is public, the checksum tells a mistyped key from a wrong one without a look-up. */
export interface KeyText {
  id: string;
  /** All of it, shown once. */
  text: string;
}

/** A new key, of an id that exists already when its secret is to be replaced. */
export function createKeyText(id = createKeyId()): KeyText {
  const body = `${KEY_PREFIX}${id}_${encode62(BigInt(`0x${randomBytes(32).toString("hex")}`), SECRET_LENGTH)}`;
  return { id, text: body + checksum(body) };
}

/** The id of a whole, correctly typed key; undefined for anything else. */
export function parseKeyId(text: string): string | undefined {
  const match = KEY.exec(text);
  return match !== null && checksum(text.slice(0, -CHECKSUM_LENGTH)) === match[2] ? match[1] : undefined;
}

/** What is stored of a key. A plain SHA-256, as 256 random bits need no slow hash. */
export function hashKey(text: string): Buffer {
  return hash("sha256", text, "buffer");
}

function createKeyId(): string {
  return encode62(BigInt(`0x${randomBytes(8).toString("hex")}`), ID_LENGTH);
}

function checksum(body: string): string {
  return encode62(BigInt(crc32(body)), CHECKSUM_LENGTH);
}

function encode62(value: bigint, length: number): string {
  let text = "";
  for (let rest = value; rest > 0n; rest /= 62n) text = ALPHABET[Number(rest % 62n)] + text;
  return text.padStart(length, ALPHABET[0]);
}
