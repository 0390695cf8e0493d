// Command tunnel loads a proxy server as a kube-apiserver that keeps one gRPC connection for all of its dials: with
// CreateGRPCTunnel of the konnectivity client library. It has its own target, and older sessions beside the load.
//
// --cached does what the egress selector does with a cached tunnel: after one dial that failed for a reason of the
// transport, it closes the tunnel with everything on it. One scenario a run; the outcome is one line of JSON.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/klog/v2"
	"sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client"
	"sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client/metrics"
)

var (
	socket = flag.String("socket", "", "unix socket of the gRPC frontend")
	cached = flag.Bool("cached", true, "close the tunnel after one dial that the transport refused")
	count  = flag.Int("count", 1, "connections of the load")
	among  = flag.Int("parallel", 8, "connections of churn at one time")
	older  = flag.Int("older", 20, "sessions that stand before the load, and echo while it lasts")
	size   = flag.Int("size", 1<<20, "bytes of each download or upload")
	wait   = flag.Duration("wait", 0, "pause of a reader; time without a stream; time until a dial is cancelled")
	target = flag.String("target", "", "address of an echo server for churn; empty: an own one")
	limit  = flag.Duration("limit", 50*time.Second, "time for each connection of the load")
)

// A listener's queue takes 4,096 connections; over it the kernel drops them and tries again after seconds.
const listeners = 16

// What a client sends first to the target: an operation and a number of bytes.
const (
	opEcho     = 'e'
	opDownload = 'd'
	opUpload   = 'u'
)

func main() {
	klog.InitFlags(nil)
	flag.Parse()
	// The scenarios end sessions and dials on purpose; each of these would be logged.
	flag.Set("logtostderr", "false")
	flag.Set("stderrthreshold", "FATAL")
	flag.Set("alsologtostderr", "false")
	klog.SetOutput(io.Discard)
	scenarios := map[string]func(*load){
		"dials": dials, "downloads": downloads, "paused": paused, "uploads": uploads, "cancels": cancels, "idle": idle,
		"hold": hold, "churn": churn,
	}
	scenario, known := scenarios[flag.Arg(0)]
	if !known {
		fmt.Fprintln(os.Stderr, "unknown scenario", flag.Arg(0))
		os.Exit(2)
	}
	var targets []string
	for range listeners {
		target, err := serveTarget()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		targets = append(targets, target)
	}
	tunnel, err := client.CreateGRPCTunnel(context.Background(), "unix://"+*socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	work := &load{tunnel: tunnel, targets: targets, over: make(chan struct{})}
	work.startOlder()
	fmt.Fprintln(os.Stderr, "ready")
	started := time.Now()
	scenario(work)
	seconds := time.Since(started).Seconds()
	work.stopOlder()
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"done": work.done.Load(), "failed": work.failed.Load(), "error": work.text(), "seconds": seconds,
		"older_broken": work.broken.Load(), "older_worst_s": time.Duration(work.worst.Load()).Seconds(),
		"tunnels_closed": work.closed.Load(), "dial_worst_s": time.Duration(work.dialWorst.Load()).Seconds(),
	})
}

// load counts what became of the connections of a scenario and of the older sessions.
type load struct {
	tunnel                       client.ReusableTunnel
	targets                      []string
	done, failed, broken, closed atomic.Int64
	worst, dialWorst             atomic.Int64 // nanoseconds
	first                        atomic.Pointer[string]
	over                         chan struct{}
	sessions                     sync.WaitGroup
}

func (l *load) text() string {
	if text := l.first.Load(); text != nil {
		return *text
	}
	return ""
}

func (l *load) fail(err error) {
	l.failed.Add(1)
	text := err.Error()
	l.first.CompareAndSwap(nil, &text)
}

func raise(most *atomic.Int64, took time.Duration) {
	for {
		now := most.Load()
		if int64(took) <= now || most.CompareAndSwap(now, int64(took)) {
			return
		}
	}
}

func (l *load) dial(ctx context.Context) (net.Conn, error) {
	started := time.Now()
	conn, err := l.tunnel.DialContext(ctx, "tcp", l.targets[rand.Intn(len(l.targets))])
	if err == nil {
		raise(&l.dialWorst, time.Since(started))
		return conn, nil
	}
	if *cached && l.invalidates(err) && l.closed.CompareAndSwap(0, 1) {
		go l.tunnel.Close()
	}
	return nil, err
}

// invalidates tells whether the owner of a cached tunnel gives it up after this error of a dial.
func (l *load) invalidates(err error) bool {
	known, reason := client.GetDialFailureReason(err)
	switch {
	case !known:
		return true
	case reason == metrics.DialFailureStreamSetup, reason == metrics.DialFailureTunnelClosed:
		return true
	}
	return false
}

// each does the work on all connections at once.
func (l *load) each(number int, work func(ctx context.Context) error) {
	var group sync.WaitGroup
	for range number {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), *limit)
			defer cancel()
			if err := work(ctx); err != nil {
				l.fail(err)
			} else {
				l.done.Add(1)
			}
		})
	}
	group.Wait()
}

func request(operation byte, bytes int) []byte {
	return binary.BigEndian.AppendUint64([]byte{operation}, uint64(bytes))
}

// bounded ends a connection's work when the time for it is over: connections of the library have no deadlines.
func bounded(ctx context.Context, conn net.Conn, work func() error) error {
	result := make(chan error, 1)
	go func() { result <- work() }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return errors.New("not done in time")
	}
}

func echoOnce(conn net.Conn) error {
	if _, err := conn.Write([]byte("hello")); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	return nil
}

// ---- older sessions ----------------------------------------------------------------------------------------------

func (l *load) startOlder() {
	var ready sync.WaitGroup
	for range *older {
		ready.Add(1)
		l.sessions.Go(func() { l.session(&ready) })
	}
	ready.Wait()
}

func (l *load) stopOlder() {
	close(l.over)
	l.sessions.Wait()
}

func (l *load) session(ready *sync.WaitGroup) {
	conn, err := l.dial(context.Background())
	if err == nil {
		_, err = conn.Write(request(opEcho, 0))
	}
	ready.Done()
	for err == nil {
		started := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), *limit)
		err = bounded(ctx, conn, func() error { return echoOnce(conn) })
		cancel()
		raise(&l.worst, time.Since(started))
		select {
		case <-l.over:
			if err == nil {
				conn.Close()
				return
			}
		case <-time.After(50 * time.Millisecond):
		}
	}
	l.broken.Add(1)
	text := "older session: " + err.Error()
	l.first.CompareAndSwap(nil, &text)
}

// ---- scenarios ---------------------------------------------------------------------------------------------------

// dials opens all connections at once, uses each, and closes them when all stand.
func dials(l *load) {
	var standing sync.WaitGroup
	standing.Add(*count)
	l.each(*count, func(ctx context.Context) error {
		conn, err := l.dial(ctx)
		if err == nil {
			if _, err = conn.Write(request(opEcho, 0)); err == nil {
				err = bounded(ctx, conn, func() error { return echoOnce(conn) })
			}
		}
		standing.Done()
		if conn == nil {
			return err
		}
		standing.Wait()
		return errors.Join(err, conn.Close())
	})
}

func (l *load) download(ctx context.Context, pause time.Duration) error {
	conn, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return bounded(ctx, conn, func() error {
		if _, err := conn.Write(request(opDownload, *size)); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			return err
		}
		time.Sleep(pause)
		got, err := io.CopyN(io.Discard, conn, int64(*size-1))
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", got+1, err)
		}
		return nil
	})
}

func downloads(l *load) {
	l.each(*count, func(ctx context.Context) error { return l.download(ctx, 0) })
}

// paused reads the first byte of each download, and the rest after a while.
func paused(l *load) {
	l.each(*count, func(ctx context.Context) error { return l.download(ctx, *wait) })
}

// uploads sends in one write, which is one message, and wants to hear that all of it arrived.
func uploads(l *load) {
	sent := make([]byte, *size)
	l.each(*count, func(ctx context.Context) error {
		conn, err := l.dial(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		return bounded(ctx, conn, func() error {
			if _, err := conn.Write(request(opUpload, *size)); err != nil {
				return err
			}
			if _, err := conn.Write(sent); err != nil {
				return fmt.Errorf("writing: %w", err)
			}
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				return fmt.Errorf("no receipt: %w", err)
			}
			return nil
		})
	})
}

// cancels takes dials back, most of them before their answer, and dials for use right after.
func cancels(l *load) {
	var group sync.WaitGroup
	for range *count {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.Int63n(int64(*wait))))
			defer cancel()
			if conn, err := l.dial(ctx); err == nil {
				conn.Close()
			}
		})
	}
	group.Wait()
	l.dialWorst.Store(0)
	l.each(100, func(ctx context.Context) error {
		conn, err := l.dial(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write(request(opEcho, 0)); err != nil {
			return err
		}
		return bounded(ctx, conn, func() error { return echoOnce(conn) })
	})
}

// idle leaves the tunnel without a stream for a while, then dials again.
func idle(l *load) {
	time.Sleep(*wait)
	dials(l)
}

// churn opens, uses and closes connections, a few at one time, and wants 64 bytes back on each. It measures the tunnel.
func churn(l *load) {
	if *target != "" {
		l.targets = []string{*target}
	}
	var group sync.WaitGroup
	for number := range *among {
		group.Go(func() {
			for range *count / *among {
				ctx, cancel := context.WithTimeout(context.Background(), *limit)
				if err := l.exchange(ctx); err != nil {
					l.fail(fmt.Errorf("client %d: %w", number, err))
				} else {
					l.done.Add(1)
				}
				cancel()
			}
		})
	}
	group.Wait()
}

func (l *load) exchange(ctx context.Context) error {
	conn, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent := make([]byte, 64)
	if *target == "" {
		sent = request(opEcho, 0)
	}
	return bounded(ctx, conn, func() error {
		if _, err := conn.Write(sent); err != nil {
			return err
		}
		if *target == "" {
			return echoOnce(conn)
		}
		_, err := io.ReadFull(conn, sent)
		return err
	})
}

// hold keeps the older sessions for a while; the load is what it dials every 100 ms, one after the other.
func hold(l *load) {
	for end := time.Now().Add(*wait); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		l.each(1, func(ctx context.Context) error {
			conn, err := l.dial(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := conn.Write(request(opEcho, 0)); err != nil {
				return err
			}
			return bounded(ctx, conn, func() error { return echoOnce(conn) })
		})
	}
}

// ---- target ------------------------------------------------------------------------------------------------------

func serveTarget() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			go answer(conn)
		}
	}()
	return listener.Addr().String(), nil
}

func answer(conn net.Conn) {
	defer conn.Close()
	head := make([]byte, 9)
	if _, err := io.ReadFull(conn, head); err != nil {
		return
	}
	bytes := int64(binary.BigEndian.Uint64(head[1:]))
	switch head[0] {
	case opEcho:
		// Both ends hidden: between two sockets io.Copy would open a pipe for each connection.
		io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
	case opDownload:
		io.CopyN(conn, zeros{}, bytes)
		io.Copy(io.Discard, conn)
	case opUpload:
		if got, _ := io.CopyN(io.Discard, conn, bytes); got == bytes {
			conn.Write([]byte{1})
			io.Copy(io.Discard, conn)
		}
	}
}

type zeros struct{}

func (zeros) Read(into []byte) (int, error) {
	clear(into)
	return len(into), nil
}
