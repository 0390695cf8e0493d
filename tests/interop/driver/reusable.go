//go:build reusable

package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client"
)

func init() {
	reusableTunnel = func(socket string) (dialFunc, error) {
		tunnel, err := client.CreateGRPCTunnel(context.Background(), "unix://"+socket,
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			return tunnel.DialContext(ctx, network, address)
		}, nil
	}
}
