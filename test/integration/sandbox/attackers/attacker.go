// Attempts what its arguments say, and prints what came of each: done, or the error that it met.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

var names = map[syscall.Errno]string{
	syscall.EPERM: "EPERM", syscall.ENOENT: "ENOENT", syscall.ESRCH: "ESRCH", syscall.EACCES: "EACCES", syscall.EBUSY: "EBUSY",
	syscall.EXDEV: "EXDEV", syscall.EINVAL: "EINVAL", syscall.EMFILE: "EMFILE", syscall.ENOSPC: "ENOSPC", syscall.EROFS: "EROFS",
	syscall.ENOSYS: "ENOSYS", syscall.EPROTONOSUPPORT: "EPROTONOSUPPORT", syscall.EAFNOSUPPORT: "EAFNOSUPPORT",
	syscall.EADDRNOTAVAIL: "EADDRNOTAVAIL", syscall.ENETUNREACH: "ENETUNREACH", syscall.ECONNREFUSED: "ECONNREFUSED",
}

func describe(err error) string {
	if err == nil {
		return "done"
	}
	number, ok := err.(syscall.Errno)
	if name := names[number]; ok && name != "" {
		return name
	}
	return err.Error()
}

func number(text string) int {
	value, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		panic(err)
	}
	return int(value)
}

func raw(texts []string) error {
	var a [7]uintptr
	for i, text := range texts {
		a[i] = uintptr(number(text))
	}
	_, _, errno := syscall.RawSyscall6(a[0], a[1], a[2], a[3], a[4], a[5], a[6])
	if errno == 0 {
		return nil
	}
	return errno
}

func open(path string, flags int) error {
	descriptor, err := syscall.Open(path, flags, 0o644)
	if err == nil {
		syscall.Close(descriptor)
	}
	return err
}

// An address of four bytes, such as 127.0.0.1.
func connect(address string, port int) error {
	descriptor, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(descriptor)
	to := &syscall.SockaddrInet4{Port: port}
	for i, part := range strings.Split(address, ".") {
		to.Addr[i] = byte(number(part))
	}
	return syscall.Connect(descriptor, to)
}

func fill(path string) error {
	descriptor, err := syscall.Open(path, syscall.O_CREAT|syscall.O_WRONLY, 0o644)
	piece := make([]byte, 1<<20)
	for count := 0; err == nil && count < 400; count++ {
		_, err = syscall.Write(descriptor, piece)
	}
	return err
}

func takeDescriptors() error {
	for {
		if _, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0); err != nil {
			return err
		}
	}
}

func characterToTerminal() error {
	character := byte('x')
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 0, 0x5412, uintptr(unsafe.Pointer(&character)))
	return errno
}

func attempt(arguments []string) error {
	switch arguments[0] {
	case "read":
		return open(arguments[1], syscall.O_RDONLY)
	case "write":
		return open(arguments[1], syscall.O_WRONLY|syscall.O_CREAT)
	case "unlink":
		return syscall.Unlink(arguments[1])
	case "link":
		return syscall.Link(arguments[1], arguments[2])
	case "read-by-link":
		if err := syscall.Symlink(arguments[1], "/tmp/link"); err != nil {
			return err
		}
		return open("/tmp/link", syscall.O_RDONLY)
	case "device":
		return syscall.Mknod("/tmp/disk", syscall.S_IFBLK|0o666, 254<<8)
	case "kill":
		return syscall.Kill(number(arguments[1]), syscall.Signal(number(arguments[2])))
	case "call":
		return raw(arguments[1:])
	case "socket":
		_, err := syscall.Socket(number(arguments[1]), number(arguments[2]), number(arguments[3]))
		return err
	case "connect":
		return connect(arguments[1], number(arguments[2]))
	case "fill":
		return fill(arguments[1])
	case "descriptors":
		return takeDescriptors()
	case "terminal":
		return characterToTerminal()
	}
	panic(arguments[0])
}

func main() {
	for _, line := range os.Args[1:] {
		fmt.Println(describe(attempt(strings.Fields(line))))
	}
}
