// Package pod is a pod's side of TCP: who may speak to the replica, and who claims it.
package pod

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"kubeserverless/frame"
)

const (
	maxUnproven  = 16
	maxProven    = 64
	proofTimeout = 5 * time.Second
	// Whoever claims sends what it claims for as soon as it has the answer.
	claimTimeout = 2 * time.Second
	// UsedBefore is the exit code of a container that was restarted.
	UsedBefore = 78
)

// Facts are what a pod knows of itself.
type Facts struct {
	UID     string
	Address string
	Keys    string
	// Listener is the descriptor that connections come by.
	Listener int
}

// Pod admits gateways.
type Pod struct {
	facts Facts
	// Hello makes the meta of HELLO.
	hello func() []byte
	// claimed gets the first frame behind a claim that is none of this package's; every other gateway is gone by then.
	claimed func(*Peer, frame.Frame)
	// serve takes over a connection that was proven, where the replica is specialised already; it returns at its end.
	serve func(file *os.File, hello []byte)

	lock     sync.Mutex
	unproven []*Peer
	proven   map[*Peer]bool
	claimant *Peer
}

// ReadFacts takes a pod's environment; ok is false where this is no pod.
func ReadFacts() (facts Facts, listen string, ok bool) {
	listen, ok = os.LookupEnv("KS_LISTEN")
	if !ok {
		return
	}
	port := listen[strings.LastIndexByte(listen, ':')+1:]
	ip := os.Getenv("KS_POD_IP")
	if strings.Contains(ip, ":") {
		ip = "[" + ip + "]"
	}
	return Facts{UID: os.Getenv("KS_POD_UID"), Address: ip + ":" + port, Keys: os.Getenv("KS_GATEWAY_KEYS")}, listen, true
}

// RequireEmpty ends the process where an earlier function may have left something.
func RequireEmpty() {
	scratch, ok := os.LookupEnv("KS_SCRATCH")
	if !ok {
		scratch = "/tmp"
	}
	for _, folder := range strings.Split(scratch, ":") {
		found, err := os.ReadDir(folder)
		if err == nil && len(found) == 0 {
			continue
		}
		text := fmt.Sprintf("%s is not empty: this container was used before, its pod is to be deleted", folder)
		if err != nil {
			text = err.Error()
		}
		fmt.Fprintln(os.Stderr, text)
		os.Exit(UsedBefore)
	}
}

// NewGeneric waits for a claim.
func NewGeneric(facts Facts, hello func() []byte, claimed func(*Peer, frame.Frame)) *Pod {
	return &Pod{facts: facts, hello: hello, claimed: claimed, proven: make(map[*Peer]bool)}
}

// NewSpecialised serves whichever gateway comes.
func NewSpecialised(facts Facts, hello func() []byte, serve func(*os.File, []byte)) *Pod {
	return &Pod{facts: facts, hello: hello, serve: serve, proven: make(map[*Peer]bool)}
}

// Listen accepts gateways; it never returns.
func (p *Pod) Listen() {
	for {
		file, err := accept(p.facts.Listener)
		if err != nil {
			fmt.Fprintln(os.Stderr, "pod:", err)
			os.Exit(1)
		}
		go p.greet(file)
	}
}

func (p *Pod) greet(file *os.File) {
	peer := newPeer(p, file)
	p.lock.Lock()
	if len(p.unproven) >= maxUnproven {
		oldest := p.unproven[0]
		p.unproven = p.unproven[1:]
		oldest.hangUp()
	}
	p.unproven = append(p.unproven, peer)
	p.lock.Unlock()
	timer := time.AfterFunc(proofTimeout, peer.hangUp)
	proven := peer.introduce()
	timer.Stop()
	p.lock.Lock()
	for i, each := range p.unproven {
		if each == peer {
			p.unproven = append(p.unproven[:i:i], p.unproven[i+1:]...)
			break
		}
	}
	if proven = proven && len(p.proven) < maxProven && !peer.gone; proven {
		p.proven[peer] = true
	}
	p.lock.Unlock()
	if proven {
		peer.talk()
	}
	p.drop(peer)
}

func (p *Pod) drop(peer *Peer) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.dropLocked(peer)
}

func (p *Pod) dropLocked(peer *Peer) {
	delete(p.proven, peer)
	if p.claimant == peer {
		p.claimant = nil
	}
	peer.hangUp()
}

// reserve is false while another gateway's claim holds.
func (p *Pod) reserve(peer *Peer) bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.claimant == nil {
		p.claimant = peer
		peer.claimTimer = time.AfterFunc(claimTimeout, peer.hangUp)
	}
	return p.claimant == peer
}

// take sends every other gateway away; false where the claim is over.
func (p *Pod) take(winner *Peer) bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.claimant != winner || !winner.claimTimer.Stop() {
		return false
	}
	for peer := range p.proven {
		peer.forget()
		if peer != winner {
			peer.send(frame.Frame{Kind: frame.Taken})
			peer.hangUp()
		}
	}
	return true
}

func (p *Pod) challengeMeta() []byte {
	meta, _ := json.Marshal(map[string]any{"protocol": 1, "uid": p.facts.UID})
	return meta
}

var peakFiles = []string{"/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"}

// DescribeLoad is the meta of PONG.
func DescribeLoad(inFlight int) []byte {
	for _, path := range peakFiles {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var bytes int64
		if _, err := fmt.Sscan(string(text), &bytes); err == nil {
			return []byte(fmt.Sprintf(`{"inFlight":%d,"peakMiB":%d}`, inFlight, (bytes+1<<20-1)>>20))
		}
	}
	return []byte(fmt.Sprintf(`{"inFlight":%d}`, inFlight))
}
