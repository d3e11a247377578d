"""Proofs of gateways: RSA signatures, verified by the standard library's integers alone."""

from binascii import a2b_base64, hexlify

from .strict_json import load_json

try:
    from _sha256 import sha256
except ImportError:  # Its name from Python 3.12 on.
    try:
        from _sha2 import sha256
    except ImportError:
        from hashlib import sha256

ROLE = "gateway-to-pod"
NONCE_BYTES = 32
SIGNATURE_BYTES = 256
_DOMAIN = "kube-serverless proof v1"
_EXPONENT = 65537
_MAX_KEYS = 4
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
_HASH_BLOCK_BYTES = 64


def parse_public_keys(text):
    """The moduli of a JSON Web Key Set; RSA with 2048 bits and the exponent 65537 alone."""
    keys = load_json(text)["keys"]
    if not 1 <= len(keys) <= _MAX_KEYS:
        raise ValueError("1 to %d public keys are wanted" % _MAX_KEYS)
    return [_parse_modulus(key) for key in keys]


def read_public_keys(path):
    """Those of a file."""
    with open(path, "rb") as file:
        return parse_public_keys(file.read())


def _parse_modulus(key):
    text = key["n"].encode("ascii").translate(bytes.maketrans(b"-_", b"+/"))
    modulus = int.from_bytes(a2b_base64(text + b"=" * (-len(text) % 4)), "big")
    if key["kty"] != "RSA" or key["e"] != "AQAB" or modulus.bit_length() != 8 * SIGNATURE_BYTES:
        raise ValueError("a public key of another kind")
    return modulus


def verify_proof(moduli, role, nonce, parties, signature):
    """Whether one of the keys signed this nonce for these parties."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    lines = [_DOMAIN, role, hexlify(nonce).decode("ascii")] + list(parties)
    message = ("\n".join(lines) + "\n").encode("ascii")
    # The whole block is built and compared, so that there is nothing to parse, and nothing for a forger to hide in.
    tail = b"\0" + _DIGEST_INFO + sha256(message).digest()
    block = int.from_bytes(b"\0\1" + b"\xff" * (SIGNATURE_BYTES - 2 - len(tail)) + tail, "big")
    number = int.from_bytes(signature, "big")
    return any(number < modulus and pow(number, _EXPONENT, modulus) == block for modulus in moduli)


def answer_with_token(token, nonce):
    """What a token answers to a challenge: HMAC-SHA-256 (RFC 2104) with a key of 32 bytes."""
    padded = bytes(token) + bytes(_HASH_BLOCK_BYTES - len(token))
    inner = sha256(bytes(byte ^ 0x36 for byte in padded) + nonce).digest()
    return sha256(bytes(byte ^ 0x5C for byte in padded) + inner).digest()
