# Settings of every build of Go programs for tests; sourced by the build scripts. All builds use the same flags, so that they
# share the packages compiled before.
PATH=$PATH:/usr/local/go/bin
export CGO_ENABLED=0 GOFLAGS=-trimpath

# Print one hash of all Go sources below the directory $1 and of the compiler's version.
source_key() {
    (cd "$1" && go version && find . -type f \( -name '*.go' -o -name 'go*.mod' -o -name 'go*.sum' \) |
        LC_ALL=C sort | xargs sha256sum) | sha256sum | cut -d' ' -f1
}

# Call the function `build`, which a script defines, in the directory $2 with the sources. It writes the program $1, and any others,
# into $bin, the directory $3. Nothing is built if the last build had the same sources.
build_once() {
    mkdir -p "$3"
    bin=$(cd "$3" && pwd)
    key=$(source_key "$2")
    if [ ! -x "$bin/$1" ] || [ "$(cat "$bin/$1.key" 2>/dev/null)" != "$key" ]; then
        rm -f "$bin/$1.key"
        (cd "$2" && build)
        echo "$key" >"$bin/$1.key"
    fi
}
