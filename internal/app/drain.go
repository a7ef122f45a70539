package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
)

// lingerTime is how long connections whose making is under way get when no new
// one is let in any more: several round trips of a network between machines.
const lingerTime = 300 * time.Millisecond

// drain ends the serving in order: not ready, but serving as before while
// balancers notice; no new connections; requests under way finished.
func (a *App) drain(server *http.Server, ln net.Listener) error {
	a.log.Info("stopping: finishing the requests under way", "after", a.config.HTTP.DrainDelay, "at_most", a.config.HTTP.DrainTime)
	a.nodes.Drain()
	a.api.SetDraining()
	time.Sleep(a.config.HTTP.DrainDelay)
	if a.shared != nil { // somebody else answers who is not let in
		if err := refuse(ln); err != nil {
			a.log.Debug("connections that wait when the socket is closed will be reset", "error", err)
		} else {
			time.Sleep(lingerTime)
		}
	}
	a.api.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), a.config.HTTP.DrainTime)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		a.log.Warn("some requests did not finish in time and are cut off")
		return server.Close()
	}
	return err
}

// listen opens the socket, as one of plain TCP: those of MPTCP, which Go prefers,
// take no filter.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return config.Listen(ctx, "tcp", address)
}

// onlyKnown is a packet filter for a listening socket: it drops what has SYN
// set, the flag 2 in byte 13 of a TCP header, and lets the rest pass.
var onlyKnown = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 2},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// refuse lets no new connection in, while those that are being made, and wait to
// be accepted, still get through: closing the socket would reset them after
// their clients may have sent a request. Who is not let in tries again a second
// later, and then finds the port closed, with nothing sent.
func refuse(ln net.Listener) error {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(onlyKnown)), Filter: &onlyKnown[0]})
	})
	return errors.Join(err, failed)
}
