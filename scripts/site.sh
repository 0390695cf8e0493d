#!/bin/sh
# Build the site of docs/ into DIRECTORY (dist/site). Every warning fails: a link or an anchor that leads nowhere, a page left out.
# The library that draws the diagrams is fetched once by npm and becomes a file of the site, which loads nothing from elsewhere.
set -eu
cd "$(dirname "$0")/.."
version=11.17.2
sum=sha512-V6K3C8EBdEsPFZXSKMJe6ppQOENxuHARr9GvHX4hh47lAbhMRD9qf4oEK7LoaRQxULMa80/qt5gHO73aCleBBg==
MERMAID=$PWD/.cache/mermaid/$version.min.js
export MERMAID NO_MKDOCS_2_WARNING=1 # the theme's notice on its own future has nothing to do with these pages

if [ ! -e "$MERMAID" ]; then
    command -v npm >/dev/null || { echo "npm is missing: it fetches Mermaid, which draws the diagrams. On Debian: apt-get install npm" >&2; exit 1; }
    mkdir -p .cache/mermaid
    scratch=$(mktemp -d .cache/mermaid/XXXXXX)
    trap 'rm -rf "$scratch"' EXIT
    archive=$scratch/$(npm pack --silent --pack-destination "$scratch" "mermaid@$version")
    [ "sha512-$(openssl dgst -sha512 -binary "$archive" | openssl base64 -A)" = "$sum" ] || {
        echo "mermaid $version as fetched by npm has another hash than scripts/site.sh expects: $sum" >&2
        exit 1
    }
    tar -C "$scratch" -xzf "$archive" package/dist/mermaid.min.js
    mv "$scratch/package/dist/mermaid.min.js" "$MERMAID"
fi
.venv/bin/mkdocs build --quiet --strict --site-dir "${1:-$PWD/dist/site}"
