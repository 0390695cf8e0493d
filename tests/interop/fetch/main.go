// Command fetch prints the page at a URL, through the proxy that the environment names:
//
//	fetch http URL    net/http, as most Go programs: HTTP_PROXY, HTTPS_PROXY, NO_PROXY
//	fetch all URL     golang.org/x/net/proxy: ALL_PROXY
//
// SSL_CERT_FILE names the certificates that are trusted.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"golang.org/x/net/proxy"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: fetch http|all URL")
		os.Exit(2)
	}
	if err := fetch(os.Args[1] == "all", os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fetch(all bool, url string) error {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if all {
		dialer := proxy.FromEnvironment()
		transport = &http.Transport{DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			return dialer.Dial(network, address)
		}}
	}
	response, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
