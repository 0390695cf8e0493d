#!/bin/sh
# Build the site of docs/ into DIRECTORY (dist/site). Every warning fails: a link or an anchor that leads nowhere, a page left out.
set -eu
cd "$(dirname "$0")/.."
# Without the theme's notice on its future, which has nothing to do with these pages.
NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict --site-dir "${1:-$PWD/dist/site}"
