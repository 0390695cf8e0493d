#!/bin/sh
# Generate konnectivity/proto/*_pb2.py(i) from proto/. With --check: fail if what is committed is not that.
set -eu
out=.
[ "${1:-}" = --check ] && out=$(mktemp -d)
.venv/bin/python -m grpc_tools.protoc -I proto --python_out="$out" --pyi_out="$out" proto/konnectivity/proto/*.proto
if [ "$out" != . ]; then
    trap 'rm -rf "$out"' EXIT
    for file in "$out"/konnectivity/proto/*_pb2.py*; do
        diff -q "$file" "konnectivity/proto/$(basename "$file")" >/dev/null || {
            echo "konnectivity/proto/$(basename "$file") is stale: run make proto" >&2
            exit 1
        }
    done
fi
