// Command kubelet serves what a kubelet serves to kube-apiserver, with the streaming library that container runtimes
// use: exec and port-forward over SPDY and WebSocket, a log that is followed, large downloads and uploads.
//
// It prints its address and runs until it is killed.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// pod is the only one there is: its command copies standard input to standard output, its port echoes.
type pod struct{}

func (pod) Exec(_ context.Context, _ string, cmd []string, in io.Reader, out, errOut io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	if errOut != nil {
		fmt.Fprintf(errOut, "running %v\n", cmd)
	}
	if in == nil {
		_, err := io.WriteString(out, "no input\n")
		return err
	}
	_, err := io.Copy(out, in)
	return err
}

func (p pod) Attach(ctx context.Context, id string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	return p.Exec(ctx, id, nil, in, out, errOut, tty, resize)
}

func (pod) PortForward(_ context.Context, _ string, _ int32, stream io.ReadWriteCloser) error {
	_, err := io.Copy(stream, stream)
	return err
}

func main() {
	cert := flag.String("cert", "", "certificate")
	key := flag.String("key", "", "private key")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	address := listener.Addr().String()
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	check(err)
	config := streaming.DefaultConfig
	config.BaseURL = &url.URL{Scheme: "https", Host: address, Path: "/streams/"}
	streams, err := streaming.NewServer(config, pod{})
	check(err)

	mux := http.NewServeMux()
	mux.Handle("/streams/", streams)
	mux.HandleFunc("/exec", func(w http.ResponseWriter, r *http.Request) {
		answer, err := streams.GetExec(&runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"cat"}, Stdin: true, Stdout: true, Stderr: true})
		check(err)
		fmt.Fprint(w, answer.Url)
	})
	mux.HandleFunc("/portforward", func(w http.ResponseWriter, r *http.Request) {
		answer, err := streams.GetPortForward(&runtimeapi.PortForwardRequest{PodSandboxId: "p", Port: []int32{80}})
		check(err)
		fmt.Fprint(w, answer.Url)
	})
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello by %s", r.Proto) })
	mux.HandleFunc("/download", func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.ParseInt(r.FormValue("bytes"), 10, 64)
		io.CopyN(w, pattern{}, size)
	})
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		digest := sha256.New()
		size, _ := io.Copy(digest, r.Body)
		fmt.Fprintf(w, "%d %s", size, hex.EncodeToString(digest.Sum(nil)))
	})
	mux.HandleFunc("/log", func(w http.ResponseWriter, r *http.Request) {
		for line := 0; line < 20; line++ {
			fmt.Fprintf(w, "line %d\n", line)
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	fmt.Println(address)
	os.Stdout.Sync()
	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}
	check(server.ServeTLS(listener, "", ""))
}

// pattern is an endless, known sequence of bytes.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
