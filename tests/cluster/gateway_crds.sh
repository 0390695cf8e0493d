#!/bin/sh
# Prints the folder of the Gateway API's own CRDs: the files of its Go module, which Go keeps and checks.
set -eu
PATH=$PATH:/usr/local/go/bin
cd "$(mktemp -d)"
trap 'rmdir "$PWD"' EXIT
directory=$(go mod download -json sigs.k8s.io/gateway-api@v1.5.1 | sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p')
echo "$directory/config/crd"
