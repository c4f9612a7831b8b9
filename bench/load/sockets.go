// Non-blocking sockets and epoll without the runtime's poller, which would cost more than the reading itself.
package main

import (
	"syscall"
	"time"
	"unsafe"
)

var processStart = time.Now()

// nowUs is monotonic microseconds since the loader started: publish and receipt are stamped by the same clock.
func nowUs() int64 { return int64(time.Since(processStart) / time.Microsecond) }

// dial starts connecting to 127.0.0.1; the source address is fixed per run so that runs do not share a port range.
//
// stalls: with small buffers, so that what it does not read lies in the server (see slow.go).
func dial(port int, source [4]byte, stalls bool) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	const bindAddressNoPort = 24 // IP_BIND_ADDRESS_NO_PORT
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, bindAddressNoPort, 1)
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if stalls {
		shrinkBuffers(fd)
	}
	if err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: source}); err == nil {
		err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil && err != syscall.EINPROGRESS {
		_ = syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func epollCtl(epoll, op, fd int, events uint32) error {
	event := syscall.EpollEvent{Events: events, Fd: int32(fd)}
	return syscall.EpollCtl(epoll, op, fd, &event)
}

// epollWait sleeps at most timeoutMs; with 0 it only looks. RawSyscall: there is nobody to hand the processor to.
func epollWait(epoll int, events []syscall.EpollEvent, timeoutMs int) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(timeoutMs), 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// threadCPUUs is the processor time of the calling thread: the loader has one that matters.
func threadCPUUs() int64 {
	const clockThreadCPU = 3 // CLOCK_THREAD_CPUTIME_ID
	var at syscall.Timespec
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThreadCPU, uintptr(unsafe.Pointer(&at)), 0)
	return at.Nano() / 1000
}

// readSocket answers the bytes read, 0 at the end of the stream, -1 when there is nothing yet, -2 on an error.
func readSocket(fd int, into []byte) int {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&into[0])), uintptr(len(into)))
	switch errno {
	case 0:
		return int(n)
	case syscall.EAGAIN, syscall.EINTR:
		return -1
	default:
		return -2
	}
}

const timestampNs = 35 // SO_TIMESTAMPNS and SCM_TIMESTAMPNS

// stampArrivals lets the kernel say when what is read had arrived (readArrival).
func stampArrivals(fd int) error {
	return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, timestampNs, 1)
}

// readArrival is readSocket, and when the newest of these bytes had arrived, us of the wall clock.
func readArrival(fd int, into []byte) (n int, arrivedUs int64) {
	var control [64]byte
	n, controlled, _, _, err := syscall.Recvmsg(fd, into, control[:], syscall.MSG_DONTWAIT)
	switch err {
	case nil:
	case syscall.EAGAIN, syscall.EINTR:
		return -1, 0
	default:
		return -2, 0
	}
	messages, _ := syscall.ParseSocketControlMessage(control[:controlled])
	for _, message := range messages {
		if message.Header.Level == syscall.SOL_SOCKET && message.Header.Type == timestampNs {
			arrivedUs = (*syscall.Timespec)(unsafe.Pointer(&message.Data[0])).Nano() / 1000
		}
	}
	return n, arrivedUs
}

// writeSocket answers the bytes taken, -1 when the socket takes none now, -2 on an error.
func writeSocket(fd int, from []byte) int {
	if len(from) == 0 {
		return 0
	}
	const noSignal = syscall.MSG_NOSIGNAL
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&from[0])), uintptr(len(from)), noSignal, 0, 0)
	switch errno {
	case 0:
		return int(n)
	case syscall.EAGAIN, syscall.EINTR:
		return -1
	default:
		return -2
	}
}

// epollWaitUs is epollWait with the grain that an open-loop schedule of thousands of POSTs a second needs (Linux >= 5.11).
func epollWaitUs(epoll int, events []syscall.EpollEvent, timeoutUs int64) int {
	const epollPwait2 = 441
	limit := syscall.NsecToTimespec(timeoutUs * 1000)
	n, _, errno := syscall.RawSyscall6(epollPwait2, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
		uintptr(unsafe.Pointer(&limit)), 0, 0)
	if errno == syscall.ENOSYS {
		return epollWait(epoll, events, int(timeoutUs/1000))
	}
	if errno != 0 {
		return 0
	}
	return int(n)
}
