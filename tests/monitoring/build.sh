#!/bin/sh
# Builds .cache/bin/grafana-dashboard, which reads a dashboard with Grafana's types. Does nothing if it is newer than this.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../.cache/bin
PATH=$PATH:/usr/local/go/bin
mkdir -p "$bin"
if [ -x "$bin/grafana-dashboard" ] && [ -z "$(find "$here/grafana" -newer "$bin/grafana-dashboard" -type f)" ]; then
    exit 0
fi
bin=$(cd "$bin" && pwd)
cd "$here/grafana"
go build -o "$bin/grafana-dashboard" .
