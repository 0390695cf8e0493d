// Command peer is a small agent on grpc-go that speaks the established wire and nothing else: the other implementation
// of gRPC that servers meet in the field, with its flow control, its keepalive and its way of ending streams.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"sigs.k8s.io/apiserver-network-proxy/konnectivity-client/proto/client"
)

type agent struct {
	stream  grpc.ClientStream
	sending sync.Mutex
	opening sync.Mutex
	conns   map[int64]net.Conn
	last    int64
}

func main() {
	server := flag.String("server", "", "host:port")
	ca := flag.String("ca", "", "CA of the server")
	cert := flag.String("cert", "", "client certificate")
	key := flag.String("key", "", "private key")
	interval := flag.Duration("interval", 100*time.Millisecond, "pause between looks for further servers")
	flag.Parse()
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	check(err)
	pem, err := os.ReadFile(*ca)
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	config := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}
	f := &finder{server: *server, credentials: credentials.NewTLS(config), known: map[string]bool{}}
	f.find()
	for range time.Tick(*interval) { // as agents do that stand before a load balancer: draw until all have been met
		if f.missing() {
			f.find()
		}
	}
}

// finder looks for servers behind one address.
type finder struct {
	server      string
	credentials credentials.TransportCredentials
	lock        sync.Mutex
	known       map[string]bool
	count       int
}

func (f *finder) missing() bool {
	f.lock.Lock()
	defer f.lock.Unlock()
	return len(f.known) < max(f.count, 1)
}

// find opens one more connection; it is kept if it leads to a server that was not known.
func (f *finder) find() {
	conn, err := grpc.NewClient(f.server, grpc.WithTransportCredentials(f.credentials))
	check(err)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "agentID", "agent-in-go", "agentIdentifiers", "")
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(ctx, desc, "/AgentService/Connect")
	var header metadata.MD
	if err == nil {
		header, err = stream.Header()
	}
	if err != nil || len(header.Get("serverid")) == 0 {
		conn.Close()
		return
	}
	id := header.Get("serverid")[0]
	f.lock.Lock()
	defer f.lock.Unlock()
	fmt.Sscan(header.Get("servercount")[0], &f.count)
	if f.known[id] {
		conn.Close()
		return
	}
	f.known[id] = true
	fmt.Fprintln(os.Stderr, "connected", id, f.count)
	go func() {
		(&agent{stream: stream, conns: map[int64]net.Conn{}}).serve()
		conn.Close()
		f.lock.Lock()
		defer f.lock.Unlock()
		delete(f.known, id)
	}()
}

// serve handles packets until the stream ends; connections through it end too.
func (a *agent) serve() {
	for {
		packet := &client.Packet{}
		if err := a.stream.RecvMsg(packet); err != nil {
			log.Print(err)
			break
		}
		a.handle(packet)
	}
	a.opening.Lock()
	defer a.opening.Unlock()
	for _, conn := range a.conns {
		conn.Close()
	}
}

func (a *agent) send(packet *client.Packet) {
	a.sending.Lock()
	defer a.sending.Unlock()
	if err := a.stream.SendMsg(packet); err != nil {
		log.Print(err) // the reader ends the agent
	}
}

func (a *agent) handle(packet *client.Packet) {
	switch packet.Type {
	case client.PacketType_DIAL_REQ:
		a.last++
		go a.dial(packet.GetDialRequest(), a.last)
	case client.PacketType_DATA:
		if conn := a.conn(packet.GetData().ConnectID); conn != nil {
			conn.Write(packet.GetData().Data)
		}
	case client.PacketType_CLOSE_REQ:
		id := packet.GetCloseRequest().ConnectID
		if conn := a.conn(id); conn != nil {
			conn.Close() // its reader says CLOSE_RSP
			return
		}
		a.closed(id, "Unknown connectID")
	}
}

func (a *agent) dial(request *client.DialRequest, id int64) {
	answer := &client.DialResponse{Random: request.Random}
	conn, err := net.DialTimeout(request.Protocol, request.Address, 5*time.Second)
	if err != nil {
		answer.Error = err.Error()
	} else {
		answer.ConnectID = id
		a.opening.Lock()
		a.conns[id] = conn
		a.opening.Unlock()
	}
	a.send(&client.Packet{Type: client.PacketType_DIAL_RSP, Payload: &client.Packet_DialResponse{DialResponse: answer}})
	if err == nil {
		a.read(conn, id)
	}
}

func (a *agent) read(conn net.Conn, id int64) {
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if n > 0 {
			data := &client.Data{ConnectID: id, Data: append([]byte(nil), buffer[:n]...)}
			a.send(&client.Packet{Type: client.PacketType_DATA, Payload: &client.Packet_Data{Data: data}})
		}
		if err != nil {
			if err != io.EOF {
				log.Printf("connection %d: %v", id, err)
			}
			break
		}
	}
	conn.Close()
	a.opening.Lock()
	delete(a.conns, id)
	a.opening.Unlock()
	a.closed(id, "")
}

func (a *agent) closed(id int64, text string) {
	answer := &client.CloseResponse{ConnectID: id, Error: text}
	a.send(&client.Packet{Type: client.PacketType_CLOSE_RSP, Payload: &client.Packet_CloseResponse{CloseResponse: answer}})
}

func (a *agent) conn(id int64) net.Conn {
	a.opening.Lock()
	defer a.opening.Unlock()
	return a.conns[id]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
