"""Cache of the product's image, keyed by the files of its build, so that the runs of one commit build the image once.

Owns the archives in .cache/docker. Knows neither the build's steps nor the tests that use the image.
"""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path

from support import container_engine
from support.checkout import ROOT

CACHE = ROOT / ".cache/docker"
KEPT = 3  # archives; checkouts of other commits may share the cache
_BUILT = ("image", *(f"build/{each}" for each in container_engine.BUILT))


def product(directory: Path) -> tuple[Path, Path]:
    """Put the product's image into a directory, out of the cache if possible; of two runs at once, one builds it.

    Returns:
        The image's root and a root with a shell.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "product.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _unpacked_or_built(directory)


def _unpacked_or_built(directory: Path) -> tuple[Path, Path]:
    """Put the image into a directory, and into the cache if it is not there."""
    sources = container_engine.copy_sources(directory / "src")
    debian = container_engine.debian(CACHE)
    archive = CACHE / f"product-{_key(sources, debian)}.tar"
    if archive.exists():
        root = container_engine.unpack(debian, directory / "build")
        container_engine.run("tar", "-C", directory, "-xf", archive)
        return container_engine.finish(root, directory / "image")
    built = container_engine.build_product(directory)
    unfinished = archive.with_suffix(".unfinished")
    container_engine.run("tar", "-C", directory, "-cf", unfinished, *_BUILT)
    unfinished.rename(archive)
    for each in sorted(CACHE.glob("product-*.tar"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        each.unlink()
    return built


def _key(sources: Path, debian: Path) -> str:
    """Return the digest of the Dockerfile, of all files that it copies, and of the Debian below them."""
    digest = hashlib.sha256(f"{container_engine.DOCKERFILE}{debian.name}{debian.stat().st_mtime}".encode())
    for path in sorted(path for path in sources.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(sources)} {path.stat().st_mode} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
