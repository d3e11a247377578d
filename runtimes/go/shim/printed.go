package shim

import (
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

const (
	// A gateway that does not read must not keep the function from loading.
	maxPrintedWait = 200 * time.Millisecond
	printedPause   = 100 * time.Microsecond

	// Linux: how much of a pipe, and of what was sent through a socket, has not been read.
	pipeUnread   = 0x541B
	socketUnread = 0x5411
)

// awaitPrinted waits until what the function printed while it was initialised has been read. Descriptors 1 and 2 name no
// call, so a line of it would pass for the first call's.
func awaitPrinted() {
	deadline := time.Now().Add(maxPrintedWait)
	for unread(1)+unread(2) > 0 && time.Now().Before(deadline) {
		time.Sleep(printedPause)
	}
}

func unread(descriptor uintptr) int {
	if runtime.GOOS != "linux" {
		return 0
	}
	sum := 0
	for _, request := range []uintptr{pipeUnread, socketUnread} {
		var bytes int32
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, descriptor, request, uintptr(unsafe.Pointer(&bytes))); errno == 0 {
			sum += int(bytes)
		}
	}
	return sum
}
