#!/bin/sh
# Build the images with the container engine that is here. ENGINE, REPOSITORY, TAGS and TARGETS say what and as what:
# PYTHON_IMAGE pins the base: python:3.13-slim-trixie@sha256:...
#   TAGS="0.2.0 v0.34.0" REPOSITORY=registry.example/konnectivity sh scripts/image.sh
# Further arguments go to the engine's build (--platform, --push ...).
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' konnectivity/__init__.py)
for engine in ${ENGINE:-docker podman buildah}; do
    command -v "$engine" >/dev/null && break
    engine=
done
[ -n "$engine" ] || { echo "no container engine: install docker, podman or buildah, or set ENGINE" >&2; exit 1; }
for target in ${TARGETS:-server agent}; do
    case $target in server | agent) name=proxy-$target ;; *) name=$target ;; esac
    tags=
    for tag in ${TAGS:-$version}; do
        tags="$tags --tag ${REPOSITORY:-localhost/konnectivity}/$name:$tag"
    done
    # shellcheck disable=SC2086
    "$engine" build --file docker/Dockerfile --target "$target" $tags \
        --build-arg VERSION="$version" \
        --build-arg REVISION="$(git rev-parse HEAD)" \
        --build-arg CREATED="$(git show --no-patch --format=%cI HEAD)" \
        --build-arg SOURCE_DATE_EPOCH="$(git show --no-patch --format=%ct HEAD)" \
        ${PYTHON_IMAGE:+--build-arg PYTHON_IMAGE="$PYTHON_IMAGE"} "$@" .
done
