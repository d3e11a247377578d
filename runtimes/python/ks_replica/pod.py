"""A replica in a pod: it listens, gateways dial, prove themselves, and one of them specialises it."""

import _socket
import os
import sys
from _signal import SIGTERM, set_wakeup_fd, signal
from _thread import allocate_lock
from select import POLLIN, poll
from time import monotonic

from .connection import Connection
from .frames import (
    ANSWER,
    CHALLENGE,
    CLAIM,
    DRAIN,
    MAX_LENGTH,
    PING,
    PROOF,
    SPECIALISE,
    TAKEN,
    TOKEN,
    ProtocolError,
)
from .pod_output import PodOutput
from .proof import NONCE_BYTES, ROLE, answer_with_token, read_public_keys, verify_proof

PROTOCOL = 1
_MAX_UNPROVEN = 16
_MAX_PROVEN = 64
_MAX_UNPROVEN_LENGTH = 1024
_TOKEN_BYTES = 32
_PROOF_TIMEOUT_S = 5
_CLAIM_TIMEOUT_S = 2
_LEAVE_TIMEOUT_S = 1
_EXIT_USED_BEFORE = 78
_PEAK_FILES = ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes")


def listen(replica, environment):
    """Makes the replica serve gateways that dial, as the environment says."""
    replica.logs.output = PodOutput(1)
    for folder in environment.get("KS_SCRATCH", "/tmp").split(":"):
        if os.listdir(folder):
            print("%s is not empty: this container was used before, its pod is to be deleted" % folder, file=sys.stderr)
            replica.exit(_EXIT_USED_BEFORE)
    replica.read_peak_mib = _find_peak_reader()
    pod = replica.reader = Pod(replica, environment)
    # The kernel may give a signal to any thread, and only the main one, which may wait for a call, runs handlers: the byte that the
    # interpreter writes at once wakes the thread that reads.
    signal(SIGTERM, lambda _number, _frame: None)
    set_wakeup_fd(pod.wake_descriptor, warn_on_full_buffer=False)


class Pod:
    """The listener and all connections: the thread that reads waits for any of them."""

    def __init__(self, replica, environment):
        self.replica = replica
        self.uid = environment["KS_POD_UID"]
        self.keys_path = environment["KS_GATEWAY_KEYS"]
        host, _, port = environment["KS_LISTEN"].rpartition(":")
        ip = environment["KS_POD_IP"]
        self.parties = [self.uid, "[%s]:%s" % (ip, port) if ":" in ip else "%s:%s" % (ip, port)]
        self.reading = allocate_lock()
        self.is_open = True
        self.claimant = None
        self._peers = {}
        self._number = 0
        self._leave_at = None
        self._listener = _bind(host.strip("[]"), int(port))
        self._wake_in, self.wake_descriptor = os.pipe()
        os.set_blocking(self.wake_descriptor, False)
        self._poller = poll()
        self._poller.register(self._listener.fileno(), POLLIN)
        self._poller.register(self._wake_in, POLLIN)

    def wait_readable(self, timeout_ms):
        """Whether there is something to receive, waiting so long for it."""
        return bool(self._poller.poll(timeout_ms))

    def pump(self):
        """Waits for something to come from whomever, and does what it asks for; the caller holds `reading`."""
        for descriptor, _ in self._poller.poll(self._next_timeout_ms()):
            if descriptor == self._wake_in:
                # User code may have handlers for other signals.
                if SIGTERM not in os.read(descriptor, 64):
                    continue
                self._leave_at = monotonic() + _LEAVE_TIMEOUT_S
                self.replica.leave()
            elif descriptor == self._listener.fileno():
                self._accept()
            else:
                peer = self._peers.get(descriptor)
                if peer is not None:
                    peer.pump()
        self._end_late()

    def abandon(self):
        """In a forked child: the sockets belong to the parent."""
        self.is_open = False
        self._listener.close()
        for peer in self._peers.values():
            peer.abandon()

    def admit(self, peer):
        """The peer is a gateway."""
        if sum(each.is_proven for each in self._peers.values()) > _MAX_PROVEN:
            raise ProtocolError("one gateway too many")
        peer.deadline = None

    def reserve(self, peer):
        """False while another gateway's claim holds."""
        if self.claimant is None:
            self.claimant = peer
            peer.deadline = monotonic() + _CLAIM_TIMEOUT_S
        return self.claimant is peer

    def become_taken(self, winner):
        """Before any user code runs: every token is forgotten, every other gateway sent away."""
        self.claimant = None
        winner.deadline = None
        for peer in list(self._peers.values()):
            peer.forget()
            if peer is not winner and peer.is_proven:
                peer.send(0, TAKEN)
                self.drop(peer)

    def drop(self, peer):
        """Hangs up."""
        if self._peers.pop(peer.descriptor, None) is None:
            return
        if self.claimant is peer:
            self.claimant = None
        self._poller.unregister(peer.descriptor)
        peer.forget()
        peer.abandon()
        self.replica.detach(peer)

    def _accept(self):
        try:
            descriptor, _ = self._listener._accept()
        except OSError:
            return  # It left before its turn.
        sock = _socket.socket(fileno=descriptor)
        sock.setblocking(True)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
        unproven = [peer for peer in self._peers.values() if not peer.is_proven]
        if len(unproven) >= _MAX_UNPROVEN:
            self.drop(unproven[0])
        self._number += 1
        peer = Peer(self, sock, self._number)
        self._peers[descriptor] = peer
        self._poller.register(descriptor, POLLIN)
        peer.challenge()

    def _next_timeout_ms(self):
        ends = [peer.deadline for peer in self._peers.values() if peer.deadline is not None]
        if self._leave_at is not None:
            ends.append(self._leave_at)
        return max(0, int((min(ends) - monotonic()) * 1000) + 1) if ends else None

    def _end_late(self):
        now = monotonic()
        for peer in list(self._peers.values()):
            if peer.deadline is not None and peer.deadline <= now:
                self.drop(peer)
        if self._leave_at is not None and self._leave_at <= now:
            self._leave_at = None
            self.replica.leave_now()


class Peer(Connection):
    """Who has dialled: nobody until it has proven to be a gateway, then one that may claim, then one whose calls are served."""

    def __init__(self, pod, sock, number):
        Connection.__init__(self, sock, _receive, number)
        self.descriptor = sock.fileno()
        self.is_proven = False
        self.deadline = monotonic() + _PROOF_TIMEOUT_S
        self._pod = pod
        self._nonce = os.urandom(NONCE_BYTES)
        self._token = None
        self._is_serving = False
        self._decoder.max_length = _MAX_UNPROVEN_LENGTH

    def challenge(self):
        """The first words."""
        self.send(0, CHALLENGE, {"protocol": PROTOCOL, "uid": self._pod.uid}, self._nonce)

    def forget(self):
        """Nothing that has run user code can answer for the token."""
        if self._token is not None:
            self._token[:] = bytes(_TOKEN_BYTES)
            self._token = None

    def receive(self, stream, kind, meta, body):
        """One frame, by who the peer is."""
        if not self.is_open:
            return  # What follows in the same chunk once the peer was sent away.
        if self._is_serving:
            if kind in (TOKEN, CLAIM):
                raise ProtocolError("a claim of what is not generic any more")
            self._pod.replica.on_frame(self, stream, kind, meta, body)
        elif self.is_proven:
            self._on_generic(stream, kind, meta, body)
        else:
            self._on_proof(kind, body)

    def _on_proof(self, kind, signature):
        nonce, self._nonce = self._nonce, None
        pod = self._pod
        if kind != PROOF or nonce is None or not verify_proof(self._read_keys(), ROLE, nonce, pod.parties, signature):
            raise ProtocolError("no proof")
        self.is_proven = True
        pod.admit(self)
        self._decoder.max_length = MAX_LENGTH
        if pod.replica.is_specialised:
            self._serve()
        pod.replica.hello(self, pod.replica.describe_state())

    def _read_keys(self):
        try:
            return read_public_keys(self._pod.keys_path)
        except (OSError, ValueError, KeyError) as error:
            print("The gateways' public keys cannot be read: %s" % error, file=sys.stderr)
            return []

    def _on_generic(self, stream, kind, meta, body):
        pod = self._pod
        if kind == TOKEN and len(body) == _TOKEN_BYTES and self._token is None:
            self._token = bytearray(body)
        elif kind == CLAIM and len(body) == NONCE_BYTES and self._token is not None:
            if pod.reserve(self):
                self.send(0, ANSWER, None, answer_with_token(self._token, body))
            else:
                self.send(0, TAKEN)
                pod.drop(self)
        elif kind == PING:
            pod.replica.pong(self, body)
        elif kind == DRAIN:
            pod.replica.leave()
        elif kind == SPECIALISE and pod.claimant is self:
            pod.become_taken(self)
            self._serve()
            pod.replica.on_frame(self, stream, kind, meta, body)
        else:
            raise ProtocolError("kind %d to a generic pod" % kind)

    def _serve(self):
        self._is_serving = True
        self._pod.replica.attach(self)

    def _ended(self):
        self._pod.drop(self)

    def _lost(self):
        self._outbox.clear()
        self._rest = None
        try:
            self._sock.shutdown(_socket.SHUT_RDWR)
        except OSError:
            pass  # The thread that reads has seen it.

    def _broken(self, _reason):
        self._pod.drop(self)


def _receive(peer, stream, kind, meta, body):
    peer.receive(stream, kind, meta, body)


def _bind(host, port):
    sock = _socket.socket(_socket.AF_INET6 if ":" in host else _socket.AF_INET, _socket.SOCK_STREAM)
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(128)
    sock.setblocking(False)
    return sock


def _find_peak_reader():
    for path in _PEAK_FILES:
        try:
            with open(path, "rb"):
                return lambda: _read_mib(path)
        except OSError:
            pass
    return None


def _read_mib(path):
    try:
        with open(path, "rb") as file:
            return -(-int(file.read()) // 1048576)
    except (OSError, ValueError):
        return None
