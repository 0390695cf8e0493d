#!/bin/sh
# Builds .cache/bin/grafana-dashboard, which reads a dashboard with Grafana's types. Does nothing if its sources are those of the
# last build.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../.cache/bin
. "$here/../go_environment.sh"
mkdir -p "$bin"
key=$(source_key "$here/grafana")
if [ -x "$bin/grafana-dashboard" ] && [ "$(cat "$bin/grafana-dashboard.key" 2>/dev/null)" = "$key" ]; then
    exit 0
fi
bin=$(cd "$bin" && pwd)
cd "$here/grafana"
go build -o "$bin/grafana-dashboard" .
echo "$key" >"$bin/grafana-dashboard.key"
