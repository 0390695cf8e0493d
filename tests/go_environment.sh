# Settings of every build of Go programs for tests; sourced by the build scripts. All builds use the same flags, so that they
# share the packages compiled before.
PATH=$PATH:/usr/local/go/bin
export CGO_ENABLED=0 GOFLAGS=-trimpath

# Print one hash of all Go sources below the directory $1 and of the compiler's version.
source_key() {
    (cd "$1" && go version && find . -type f \( -name '*.go' -o -name 'go*.mod' -o -name 'go*.sum' \) |
        LC_ALL=C sort | xargs sha256sum) | sha256sum | cut -d' ' -f1
}
