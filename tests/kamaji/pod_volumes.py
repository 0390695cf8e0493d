"""Volumes of a pod, with the files that a kubelet puts into them.

Owns the folders of the volumes. A kubelet writes a new version of all files beside the old one and exchanges a symbolic
link, so that a reader sees either version and never half of each; this module does the same.
"""

from __future__ import annotations

import base64
import itertools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from cluster_client import ClusterClient, Object

DEFAULT_MODE = 0o644
_DATA = "..data"
_versions = itertools.count(1)

Files = dict[str, tuple[bytes, int]]  # content and mode by path


class PodVolumes:
    """Folders of all volumes of a pod.

    Args:
        spec: specification of the pod.
        namespace: namespace of the pod and of the objects in its volumes.
        client: client of the pod's cluster.
        directory: folder for the volumes.
        kept: volumes of an earlier pod in place of new ones, by name.
    """

    def __init__(
        self,
        spec: Object,
        namespace: str,
        client: ClusterClient,
        directory: Path,
        kept: Mapping[str, Path] | None = None,
    ) -> None:
        self._spec = spec
        self._namespace = namespace
        self._client = client
        self.paths = {each["name"]: directory / each["name"] for each in spec.get("volumes", [])} | dict(kept or {})
        for path in self.paths.values():
            path.mkdir(parents=True, exist_ok=True)
        self.refresh()

    def refresh(self) -> None:
        """Write the current files of every volume, as a kubelet does about once a minute.

        Raises:
            AssertionError: an object of a volume does not exist, so that the pod cannot start.
        """
        for volume in self._spec.get("volumes", []):
            path = self.paths[volume["name"]]
            if "emptyDir" in volume:
                path.chmod(0o777)
            else:
                write_files(path, dict(self._files(volume)))

    def path(self, mount: Object) -> Path:
        """Return the folder of a mount, or its file if the mount has a subPath."""
        path = self.paths[mount["name"]]
        return (path / mount["subPath"]).resolve() if mount.get("subPath") else path

    def _files(self, volume: Object) -> Iterator[tuple[str, tuple[bytes, int]]]:
        if "projected" in volume:
            mode = volume["projected"].get("defaultMode", DEFAULT_MODE)
            for source in volume["projected"]["sources"]:
                ((kind, options),) = source.items()
                yield from self._source(kind, options, options.get("name", ""), mode)
            return
        kind = "secret" if "secret" in volume else "configMap"
        options = volume[kind]
        name = options.get("secretName") or options.get("name", "")
        yield from self._source(kind, options, name, options.get("defaultMode", DEFAULT_MODE))

    def _source(self, kind: str, options: Object, name: str, mode: int) -> Iterator[tuple[str, tuple[bytes, int]]]:
        if kind == "serviceAccountToken":
            yield options["path"], (self._token(options), mode)
            return
        if kind == "downwardAPI":
            for item in options["items"]:
                assert item["fieldRef"]["fieldPath"] == "metadata.namespace", item
                yield item["path"], (self._namespace.encode(), mode)
            return
        found = self._client.get(self._namespace, kind.lower(), name)
        if found is None and options.get("optional"):
            return
        assert found is not None, f"MountVolume.SetUp failed: {kind} {self._namespace}/{name} not found"
        data = found.get("data", {})
        for item in options.get("items") or [{"key": key, "path": key} for key in data]:
            content = base64.b64decode(data[item["key"]]) if kind == "secret" else data[item["key"]].encode()
            yield item["path"], (content, item.get("mode", mode))

    def _token(self, options: Object) -> bytes:
        audience = [f"--audience={options['audience']}"] if options.get("audience") else []
        account = self._spec["serviceAccountName"]
        life = f"--duration={options['expirationSeconds']}s"
        return self._client.ok("-n", self._namespace, "create", "token", account, *audience, life).strip()


def write_files(directory: Path, files: Files) -> None:
    """Exchange all files of a volume for others in a single step."""
    version = directory / f"..version-{next(_versions)}"
    for name, (content, mode) in files.items():
        path = version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    version.mkdir(exist_ok=True)
    old = (directory / _DATA).resolve() if (directory / _DATA).is_symlink() else None
    fresh = directory / "..data_tmp"
    fresh.symlink_to(version.name)
    fresh.rename(directory / _DATA)
    names = {each.split("/")[0] for each in files}
    for name in names:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"{_DATA}/{name}")
    for each in directory.iterdir():
        if not each.name.startswith("..") and each.name not in names:
            each.unlink()
    if old is not None:
        shutil.rmtree(old)
