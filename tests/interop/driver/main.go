// Command driver dials through a proxy server exactly as kube-apiserver does: with its egress selector, from an
// EgressSelectorConfiguration file; or with the konnectivity client library itself. One scenario a run; it prints what
// came of it as one line of JSON and exits with 1 if that is not what the scenario is for.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/apiserver/pkg/server/egressselector"
	"k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client"
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// reusableTunnel returns the dial function of one gRPC connection. Only reusable.go sets it: the client library has had
// such a tunnel since v0.37.0.
var reusableTunnel func(socket string) (dialFunc, error)

var (
	egressConfig = flag.String("egress-config", "", "EgressSelectorConfiguration file")
	socket       = flag.String("socket", "", "unix socket of the gRPC frontend, for the client library itself")
	reuse        = flag.Bool("reuse", false, "make all dials on one gRPC connection (with the build tag reusable)")
	caFile       = flag.String("ca", "", "CA of the targets' certificates")
	size         = flag.Int("size", 1<<20, "bytes")
	count        = flag.Int("count", 1, "connections")
	wait         = flag.Duration("wait", 0, "pause, or time until a dial is cancelled")
	ctx          = context.Background()
)

func main() {
	flag.Parse()
	scenarios := map[string]func(dialFunc, string) (any, error){
		"echo": echo, "dial": dialOnly, "cancel": cancelled, "hold": hold, "http": plain, "https": secure, "log": logs,
		"download": download, "upload": upload, "exec-spdy": execSPDY, "exec-websocket": execWebSocket, "portforward": forward,
	}
	scenario, known := scenarios[flag.Arg(0)]
	if !known {
		fmt.Fprintln(os.Stderr, "unknown scenario", flag.Arg(0))
		os.Exit(2)
	}
	dial, err := dialer()
	var detail any
	if err == nil {
		detail, err = scenario(dial, flag.Arg(1))
	}
	result := map[string]any{"ok": err == nil, "detail": detail}
	if err != nil {
		result["error"] = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(result)
	if err != nil {
		os.Exit(1)
	}
}

// dialer is the function that the API server would use for its "cluster" egress.
func dialer() (dialFunc, error) {
	if *reuse {
		return reusableTunnel(*socket)
	}
	if *socket != "" {
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			tunnel, err := client.CreateSingleUseGrpcTunnelWithContext(ctx, context.Background(), "unix://"+*socket,
				grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithBlock())
			if err != nil {
				return nil, err
			}
			return tunnel.DialContext(ctx, network, address)
		}, nil
	}
	config, err := egressselector.ReadEgressSelectorConfiguration(*egressConfig)
	if err != nil {
		return nil, err
	}
	if problems := egressselector.ValidateEgressSelectorConfiguration(config); len(problems) > 0 {
		return nil, problems.ToAggregate()
	}
	selector, err := egressselector.NewEgressSelector(config)
	if err != nil {
		return nil, err
	}
	dial, err := selector.Lookup(egressselector.Cluster.AsNetworkContext())
	return dialFunc(dial), err
}

// echo sends random bytes on each of many connections at once, and wants all of them back.
func echo(dial dialFunc, address string) (any, error) {
	var group sync.WaitGroup
	failures := make(chan error, *count)
	for range *count {
		group.Go(func() {
			if err := echoOnce(dial, address); err != nil {
				failures <- err
			}
		})
	}
	group.Wait()
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	return *count - len(all), errors.Join(all...)
}

func echoOnce(dial dialFunc, address string) error {
	limited, cancel := context.WithTimeout(ctx, 50*time.Second)
	defer cancel()
	conn, err := dial(limited, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent := make([]byte, *size)
	rand.Read(sent)
	written := make(chan error, 1)
	go func() {
		// The client library sends one message a write, however long, and no peer takes one above 4 MiB.
		_, err := io.CopyBuffer(conn, io.LimitReader(bytes.NewReader(sent), int64(*size)), make([]byte, 64<<10))
		written <- err
	}()
	got := make([]byte, *size)
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if err := <-written; err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if !bytes.Equal(sent, got) {
		return errors.New("what came back is not what was sent")
	}
	return nil
}

// dialOnly tells how a dial fails.
func dialOnly(dial dialFunc, address string) (any, error) {
	limited, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	conn, err := dial(limited, "tcp", address)
	if err != nil {
		return nil, err
	}
	return nil, conn.Close()
}

// cancelled gives a dial up after a while.
func cancelled(dial dialFunc, address string) (any, error) {
	limited, cancel := context.WithTimeout(ctx, *wait)
	defer cancel()
	started := time.Now()
	_, err := dial(limited, "tcp", address)
	return time.Since(started).Seconds(), err
}

// hold keeps connections open until something ends them, and tells how they ended.
func hold(dial dialFunc, address string) (any, error) {
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hold")); err != nil {
		return nil, err
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "holding")
	started := time.Now()
	_, err = conn.Read(got)
	return map[string]any{"seconds": time.Since(started).Seconds(), "end": fmt.Sprint(err)}, nil
}

func transport(dial dialFunc) (*http.Transport, error) {
	pool := x509.NewCertPool()
	if *caFile != "" {
		pem, err := os.ReadFile(*caFile)
		if err != nil {
			return nil, err
		}
		pool.AppendCertsFromPEM(pem)
	}
	return &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}, nil
}

func fetch(dial dialFunc, method, link string, body io.Reader) (string, error) {
	made, err := transport(dial)
	if err != nil {
		return "", err
	}
	defer made.CloseIdleConnections()
	request, err := http.NewRequest(method, link, body)
	if err != nil {
		return "", err
	}
	answer, err := (&http.Client{Transport: made, Timeout: 50 * time.Second}).Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

func plain(dial dialFunc, address string) (any, error) {
	return fetch(dial, http.MethodGet, "http://"+address, nil)
}

// secure asks twice: over one kept connection, which speaks HTTP/2.
func secure(dial dialFunc, address string) (any, error) {
	dials := 0
	counting := func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return dial(ctx, network, address)
	}
	made, err := transport(counting)
	if err != nil {
		return nil, err
	}
	defer made.CloseIdleConnections()
	var last string
	for range 2 {
		answer, err := (&http.Client{Transport: made}).Get("https://" + address + "/hello")
		if err != nil {
			return nil, err
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		last = string(text)
	}
	return map[string]any{"text": last, "dials": dials}, nil
}

func logs(dial dialFunc, address string) (any, error) {
	text, err := fetch(dial, http.MethodGet, "https://"+address+"/log", nil)
	return strings.Count(text, "\n"), err
}

func download(dial dialFunc, address string) (any, error) {
	text, err := fetch(dial, http.MethodGet, fmt.Sprintf("https://%s/download?bytes=%d", address, *size), nil)
	return len(text), err
}

func upload(dial dialFunc, address string) (any, error) {
	sent := make([]byte, *size)
	rand.Read(sent)
	digest := sha256.Sum256(sent)
	text, err := fetch(dial, http.MethodPost, "https://"+address+"/upload", bytes.NewReader(sent))
	if err == nil && text != fmt.Sprintf("%d %s", *size, hex.EncodeToString(digest[:])) {
		err = fmt.Errorf("the target got %s", text)
	}
	return *size, err
}

// restConfig is how client-go reaches the kubelet through the tunnel.
func restConfig(dial dialFunc) *rest.Config {
	return &rest.Config{Dial: dial, TLSClientConfig: rest.TLSClientConfig{CAFile: *caFile}}
}

func streamURL(dial dialFunc, address, kind string) (*url.URL, error) {
	text, err := fetch(dial, http.MethodGet, "https://"+address+"/"+kind, nil)
	if err != nil {
		return nil, err
	}
	return url.Parse(text)
}

func execSPDY(dial dialFunc, address string) (any, error) {
	link, err := streamURL(dial, address, "exec")
	if err != nil {
		return nil, err
	}
	executor, err := remotecommand.NewSPDYExecutor(restConfig(dial), http.MethodPost, link)
	if err != nil {
		return nil, err
	}
	return runIn(executor)
}

// execWebSocket is kubectl's way since 1.31: WebSocket to the API server, which translates it to SPDY for the kubelet.
func execWebSocket(dial dialFunc, address string) (any, error) {
	link, err := streamURL(dial, address, "exec")
	if err != nil {
		return nil, err
	}
	made, err := transport(dial)
	if err != nil {
		return nil, err
	}
	made.ForceAttemptHTTP2 = false
	translate := func(w http.ResponseWriter, r *http.Request) {
		options := proxy.Options{Stdin: true, Stdout: true, Stderr: true}
		proxy.NewStreamTranslatorHandler(link, made, 0, options).ServeHTTP(w, r)
	}
	front := httptest.NewServer(http.HandlerFunc(translate))
	defer front.Close()
	executor, err := remotecommand.NewWebSocketExecutor(&rest.Config{}, http.MethodGet, front.URL)
	if err != nil {
		return nil, err
	}
	return runIn(executor)
}

func runIn(executor remotecommand.Executor) (any, error) {
	sent := make([]byte, *size)
	rand.Read(sent)
	var out, errOut bytes.Buffer
	limited, cancel := context.WithTimeout(ctx, 50*time.Second)
	defer cancel()
	err := executor.StreamWithContext(limited, remotecommand.StreamOptions{Stdin: bytes.NewReader(sent), Stdout: &out, Stderr: &errOut})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(sent, out.Bytes()) {
		return nil, fmt.Errorf("%d bytes went in, %d came out", len(sent), out.Len())
	}
	return strings.TrimSpace(errOut.String()), nil
}

func forward(dial dialFunc, address string) (any, error) {
	link, err := streamURL(dial, address, "portforward")
	if err != nil {
		return nil, err
	}
	tripper, upgrader, err := spdy.RoundTripperFor(restConfig(dial))
	if err != nil {
		return nil, err
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	over := spdy.NewDialer(upgrader, &http.Client{Transport: tripper}, http.MethodPost, link)
	forwarder, err := portforward.New(over, []string{"0:80"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		return nil, err
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return nil, err
	}
	local := func(ctx context.Context, network, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	err = echoOnce(local, fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
	close(stop)
	return *size, err
}
