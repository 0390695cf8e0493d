"""Tests of the set of served tenants where the kernel does not report every change of a file."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from konnectivity.http1.handlers import Request
from konnectivity.runtime.file_notices import FileNotices
from konnectivity.runtime.inotify import Inotify
from konnectivity.runtime.options import read
from konnectivity.tool.pki.authority import Authority
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.tenants.tenant_parts import ProcessParts
from konnectivity_server.tenants.tenant_ports import own_row
from konnectivity_server.tenants.tenant_set import TenantSet

CHANGE_S = 1.5  # seconds in which a change is used, and some for a busy machine


class FullInotify(Inotify):
    """Instance of a user who has as many watches as the kernel allows."""

    def add(self, directory: str) -> int:
        raise OSError(28, "No space left on device")


def no_inotify() -> Inotify:
    raise OSError(24, "Too many open files")


def declare(folder: Path, *names: str, more: str = "") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "tenant.yaml").write_text(
        f"server-names: {','.join(names)}\ncluster-ca-cert: ca.crt\nserver-ca-cert: ca.crt\n{more}"
    )


@asynccontextmanager
async def served(directory: Path, notices: FileNotices, *more: str) -> AsyncIterator[TenantSet]:
    """Serve the tenants of a directory, which has the server's certificate, too, for the length of the block."""
    certificate, key = (
        Authority.create("CA").issue("server", dns=("localhost",), server=True).write(directory, ".server")
    )
    flags = [f"--tenants={directory}"]
    flags += [f"--cluster-cert={certificate}", f"--cluster-key={key}"]
    flags += [f"--server-cert={certificate}", f"--server-key={key}"]
    options, problems = read(ServerOptions, [*flags, *more], {})
    assert problems == []
    memory = options.memory_budget()
    async with asyncio.TaskGroup() as tasks:
        tenants = TenantSet(options, ProcessParts("server", tasks, memory, ServerLimits(options, memory)), notices)
        await tenants.load(None, None)
        running = tasks.create_task(tenants.run())
        yield tenants
        running.cancel()
        await tenants.close("the test is over")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(CHANGE_S):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("begin", [Inotify, FullInotify, no_inotify])
async def test_changes_are_used_with_and_without_the_kernels_notices(tmp_path, begin):
    declare(tmp_path / "a", "a.example")
    Authority.create("CA of a").write(tmp_path / "a")
    async with served(tmp_path, FileNotices(begin)) as tenants:
        assert tenants.states["a"].trouble == ""
        first = tenants.find_agents("a.example")
        declare(tmp_path / "a", "a.example", "other.example")
        await until(lambda: tenants.find_agents("other.example") is not None)
        assert tenants.find_agents("a.example") is not first
        (tmp_path / "b").mkdir()
        Authority.create("CA of b").write(tmp_path / "b")
        declare(tmp_path / "b", "b.example")
        await until(lambda: tenants.find_agents("b.example") is not None)
        shutil.rmtree(tmp_path / "b")
        await until(lambda: tenants.find_agents("b.example") is None)


async def test_a_directory_that_cannot_be_read_for_a_while_leaves_its_tenants_served(tmp_path):
    """Changes of that time are used when the directory is back."""
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    declare(home / "a", "a.example")
    Authority.create("CA of a").write(home / "a")
    async with served(home, FileNotices()) as tenants:
        home.rename(away)
        declare(away / "a", "other.example")
        await asyncio.sleep(CHANGE_S)
        assert tenants.find_agents("a.example") is not None
        away.rename(home)
        await until(lambda: tenants.find_agents("other.example") is not None)


def publish(volume: Path, version: int, tenants: dict[str, str], authorities: dict[str, bytes]) -> None:
    """Write all files of a mounted volume anew, as the kubelet does when one of them changes."""
    new = volume / f"..{version}"
    new.mkdir()
    for name, names in tenants.items():
        (new / f"{name}.ca.crt").write_bytes(authorities[name])
        files = f"cluster-ca-cert: {name}.ca.crt\nserver-ca-cert: {name}.ca.crt\n"
        (new / f"{name}.yaml").write_text(f"server-names: {names}\n{files}")
    (volume / "..tmp").symlink_to(new.name)
    (volume / "..tmp").rename(volume / "..data")
    for path in new.iterdir():
        if not (volume / path.name).is_symlink():
            (volume / path.name).symlink_to(f"..data/{path.name}")
    if version > 1:
        shutil.rmtree(volume / f"..{version - 1}")


@pytest.mark.parametrize("begin", [Inotify, no_inotify])
async def test_a_volume_that_is_written_anew_changes_the_tenants_with_another_content_only(tmp_path, begin):
    tenants = {name: f"{name}.example" for name in ("a", "b", "c")}
    authorities = {name: Authority.create(f"CA of {name}").certificate_pem for name in tenants}
    publish(tmp_path, 1, tenants, authorities)
    async with served(tmp_path, FileNotices(begin)) as served_tenants:
        states = served_tenants.states
        read = {name: states[name].served.declared for name in tenants}
        publish(tmp_path, 2, tenants | {"b": "b.example,x.example"}, authorities)
        await until(lambda: served_tenants.find_agents("x.example") is not None)
        publish(tmp_path, 3, tenants, authorities)  # the new files are watched, too
        await until(lambda: served_tenants.find_agents("x.example") is None)
        assert states["a"].served.declared is read["a"], "its files have the content that they had"
        authorities["c"] = Authority.create("Another CA of c").certificate_pem
        publish(tmp_path, 4, tenants, authorities)
        await until(lambda: states["c"].served.declared is not read["c"])
        assert states["c"].served.declared.agents.bundle != read["c"].agents.bundle
        assert states["a"].served.declared is read["a"]


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


async def test_a_new_admin_token_is_used_without_a_new_start_of_its_tenant(tmp_path):
    """Two tokens hold while clients change over; the one that is taken away opens nothing."""
    one, two = digest("one"), digest("two")
    (tmp_path / ".tokens").write_text("the-token-of-the-server")
    declare(tmp_path / "a", "a.example", more=f"admin-token-sha256: {one}\n")
    Authority.create("CA of a").write(tmp_path / "a")
    async with served(tmp_path, FileNotices(), f"--admin-token-file={tmp_path / '.tokens'}") as tenants:
        first = tenants.states["a"].served
        assert first is not None
        assert tenants.holder_of(one) is first
        assert tenants.holder_of(two) is tenants.holder_of("") is None
        declare(tmp_path / "a", "a.example", more=f"admin-token-sha256: {one},{two}\n")
        await until(lambda: tenants.holder_of(two) is first)
        assert tenants.holder_of(one) is first
        declare(tmp_path / "a", "a.example", more=f"admin-token-sha256: [{two}]\n")
        await until(lambda: tenants.holder_of(one) is None)
        assert tenants.holder_of(two) is first


async def test_one_admin_token_belongs_to_one_tenant_and_its_row_names_no_other(tmp_path):
    shared = digest("one")
    (tmp_path / ".tokens").write_text("the-token-of-the-server")
    for name in ("a", "b"):
        declare(tmp_path / name, f"{name}.example", more=f"admin-token-sha256: {shared}\n")
        Authority.create(f"CA of {name}").write(tmp_path / name)
    async with served(tmp_path, FileNotices(), f"--admin-token-file={tmp_path / '.tokens'}") as tenants:
        assert "admin token" in tenants.states["b"].trouble
        assert "belongs to tenant a" in tenants.states["b"].trouble
        assert shared not in tenants.states["b"].trouble
        first = tenants.holder_of(shared)
        assert first is not None
        assert first is tenants.states["a"].served
        declare(tmp_path / "b", "b.example")
        await until(lambda: tenants.states["b"].served is not None)
        declare(tmp_path / "a", "b.example", more=f"admin-token-sha256: {shared}\n")
        await until(lambda: "belongs to tenant b" in tenants.states["a"].trouble)
        assert tenants.holder_of(shared) is first, "the tenant is served as before"
        row = own_row(first, tenants.states["a"], Request("GET", "/api/v1/tenants", "")).body
        assert b"outdated" in row
        assert b"tenant b" not in row
        assert b"b.example" not in row
