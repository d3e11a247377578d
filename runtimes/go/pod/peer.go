package pod

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"os"
	"sync"
	"time"

	"kubeserverless/frame"
	"kubeserverless/proof"
)

const (
	tokenBytes        = 32
	maxUnprovenLength = 1024
)

// Peer is who has dialled: nobody until it has proven to be a gateway.
type Peer struct {
	pod        *Pod
	file       *os.File
	nonce      [proof.NonceBytes]byte
	claimTimer *time.Timer

	lock  sync.Mutex
	token []byte
	once  sync.Once
	gone  bool
}

func newPeer(pod *Pod, file *os.File) *Peer {
	peer := &Peer{pod: pod, file: file}
	_, err := rand.Read(peer.nonce[:])
	if err != nil {
		panic(err)
	}
	return peer
}

// File is the connection; nothing behind the last frame has been read.
func (peer *Peer) File() *os.File { return peer.file }

// Read takes the next frame, and not a byte more.
func (peer *Peer) Read() (frame.Frame, error) { return readFrame(peer.file, frame.MaxLength) }

// Send writes a frame.
func (peer *Peer) Send(f frame.Frame) error {
	_, err := peer.file.Write(frame.Append(nil, f))
	return err
}

func (peer *Peer) send(f frame.Frame) { _ = peer.Send(f) }

func (peer *Peer) hangUp() {
	peer.once.Do(func() {
		peer.forget()
		peer.gone = true
		_ = peer.file.Close()
	})
}

// forget: nothing that has run user code can answer for the token.
func (peer *Peer) forget() {
	peer.lock.Lock()
	defer peer.lock.Unlock()
	for i := range peer.token {
		peer.token[i] = 0
	}
	peer.token = nil
}

// introduce is true once the peer has proven to be a gateway.
func (peer *Peer) introduce() bool {
	peer.send(frame.Frame{Kind: frame.Challenge, Meta: peer.pod.challengeMeta(), Body: peer.nonce[:]})
	f, err := readFrame(peer.file, maxUnprovenLength)
	if err != nil || f.Kind != frame.Proof {
		return false
	}
	keys, err := proof.ReadPublicKeys(peer.pod.facts.Keys)
	if err != nil {
		os.Stderr.WriteString("The gateways' public keys cannot be read: " + err.Error() + "\n")
		return false
	}
	parties := []string{peer.pod.facts.UID, peer.pod.facts.Address}
	return proof.Verify(keys, proof.Role, peer.nonce[:], parties, f.Body)
}

// talk returns when the peer is to be sent away.
func (peer *Peer) talk() {
	if peer.pod.serve != nil {
		peer.pod.serve(peer.file, peer.pod.hello())
		return
	}
	peer.send(frame.Frame{Kind: frame.Hello, Meta: peer.pod.hello()})
	for {
		f, err := peer.Read()
		if err != nil || !peer.receive(f) {
			return
		}
	}
}

func (peer *Peer) receive(f frame.Frame) bool {
	switch f.Kind {
	case frame.Token:
		return peer.receiveToken(f.Body)
	case frame.Claim:
		return peer.receiveClaim(f.Body)
	case frame.Ping:
		peer.send(frame.Frame{Kind: frame.Pong, Meta: DescribeLoad(0), Body: f.Body})
		return true
	case frame.Drain:
		os.Exit(0)
	case frame.Artifact, frame.Specialise, frame.Build:
		if peer.pod.take(peer) {
			peer.pod.claimed(peer, f)
		}
	}
	return false
}

func (peer *Peer) receiveToken(token []byte) bool {
	peer.lock.Lock()
	defer peer.lock.Unlock()
	if len(token) != tokenBytes || peer.token != nil {
		return false
	}
	peer.token = append([]byte(nil), token...)
	return true
}

func (peer *Peer) receiveClaim(nonce []byte) bool {
	peer.lock.Lock()
	token := peer.token
	peer.lock.Unlock()
	if token == nil || len(nonce) != proof.NonceBytes {
		return false
	}
	if !peer.pod.reserve(peer) {
		peer.send(frame.Frame{Kind: frame.Taken})
		return false
	}
	peer.send(frame.Frame{Kind: frame.Answer, Body: proof.AnswerWithToken(token, nonce)})
	return true
}

func readFrame(file *os.File, maxLength int) (frame.Frame, error) {
	header := make([]byte, frame.HeaderSize)
	if _, err := io.ReadFull(file, header); err != nil {
		return frame.Frame{}, err
	}
	size, err := frame.Size(header)
	if err != nil || int(binary.BigEndian.Uint32(header)) > maxLength {
		return frame.Frame{}, frame.ErrBroken
	}
	whole := make([]byte, size)
	copy(whole, header)
	if _, err := io.ReadFull(file, whole[frame.HeaderSize:]); err != nil {
		return frame.Frame{}, err
	}
	f, _, err := frame.Parse(whole)
	return f, err
}
