package pod

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

const backlog = 128

var errAddress = errors.New("KS_LISTEN must be an address and a port, such as 0.0.0.0:7070")

// Bind listens at an address such as 0.0.0.0:7070 or [::]:7070. Plain system calls, as package net is larger than most functions.
func Bind(listen string) (int, error) {
	address, err := netip.ParseAddrPort(listen)
	if err != nil {
		return 0, errAddress
	}
	family := syscall.AF_INET
	var name syscall.Sockaddr = &syscall.SockaddrInet4{Port: int(address.Port()), Addr: ipv4(address.Addr())}
	if strings.HasPrefix(listen, "[") {
		family = syscall.AF_INET6
		name = &syscall.SockaddrInet6{Port: int(address.Port()), Addr: address.Addr().As16()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err := syscall.Bind(fd, name); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	return fd, os.NewSyscallError("listen", syscall.Listen(fd, backlog))
}

func ipv4(address netip.Addr) [4]byte {
	if !address.Is4() {
		return [4]byte{}
	}
	return address.As4()
}

// accept waits in the kernel: it has a thread of its own.
func accept(listener int) (*os.File, error) {
	for {
		fd, _, err := syscall.Accept4(listener, syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK)
		switch err {
		case nil:
			_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
			_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
			return os.NewFile(uintptr(fd), "gateway"), nil
		case syscall.EINTR, syscall.ECONNABORTED:
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
			// The function has used up something; it may give it back.
			time.Sleep(100 * time.Millisecond)
		default:
			return nil, os.NewSyscallError("accept", err)
		}
	}
}

// Descriptor of a file, without making it block.
func Descriptor(file *os.File) (fd int, err error) {
	raw, err := file.SyscallConn()
	if err == nil {
		err = raw.Control(func(value uintptr) { fd = int(value) })
	}
	return fd, err
}
