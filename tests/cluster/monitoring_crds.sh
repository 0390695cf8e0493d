#!/bin/sh
# Prints the folder of the Prometheus Operator's own CRDs: the files of its Go module, which Go keeps and checks.
set -eu
PATH=$PATH:/usr/local/go/bin
cd "$(mktemp -d)"
trap 'rmdir "$PWD"' EXIT
module=github.com/prometheus-operator/prometheus-operator@v0.85.0
directory=$(go mod download -json "$module" | sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p')
echo "$directory/example/prometheus-operator-crd"
