"""Tests of the images without an engine: the Dockerfile's steps in a Debian root, and the services of compose.yaml."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from support import container_engine
from support.checkout import ROOT
from support.container_engine import DOCKERFILE
from support.pinned_packages import pinned

COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())

pytestmark = pytest.mark.timeout(420)  # the first run fetches Debian's packages


@pytest.fixture
def host(tmp_path):
    """Yield a network in which all host names of compose.yaml resolve to loopback."""
    tmp_path.chmod(0o755)
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost {' '.join(COMPOSE['services'])}\n")
    (tmp_path / "hosts").chmod(0o644)
    running = container_engine.Host(tmp_path)
    yield running
    running.close()


@pytest.fixture
def volumes(tmp_path):
    """Make the volumes of compose.yaml, empty and owned by the user, as an engine does from the image's directories."""
    found = {name: tmp_path / name for name in COMPOSE["volumes"]}
    for each in found.values():
        each.mkdir()
        os.chown(each, container_engine.USER, container_engine.USER)
    return found


def start(host, image, name, volumes, *more):
    """Start a service of compose.yaml."""
    service = COMPOSE["services"][name]
    entrypoint = service.get("entrypoint") or entrypoint_of(service["build"]["target"] if "build" in service else name)
    mounts = {}
    for each in service.get("volumes", []):
        source, path, *flag = each.split(":")
        place = ROOT / "docker" / source if source.startswith(".") else volumes[source]
        mounts[":".join([path, *flag])] = place
    return host.start(image, name, [*entrypoint, *service.get("command", []), *more], mounts)


def entrypoint_of(target):
    stage = re.search(rf"^FROM \S+ AS {target}$(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)[1]
    return re.search(r'^ENTRYPOINT \["(.*)"\]$', stage, re.MULTILINE)[1].split('", "')


def test_the_services_of_compose_pass_a_page_and_drain_as_process_1(product_image, host, volumes):
    image, _ = product_image
    pki = start(host, image, "pki", volumes)
    assert pki.wait() == 0, pki.log
    server = start(host, image, "server", volumes)
    agent = start(host, image, "agent", volumes)
    web = start(host, image, "web", volumes)
    page = start(host, image, "page", volumes)
    assert page.wait() == 0, page.log + server.log + agent.log
    assert (ROOT / "docker/index.html").read_text() in page.log
    for each, arguments in ((server, "/proxy-server"), (agent, "/proxy-agent")):
        status = Path(f"/proc/{each.pid}/status").read_text()
        assert re.search(r"^NSpid:\s+\d+\s+1$", status, re.MULTILINE)
        assert re.search(rf"^Uid:\s+{container_engine.USER}\s", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        assert arguments in Path(f"/proc/{each.pid}/cmdline").read_text()
    for each, last in ((agent, "Proxy agent stopped"), (server, "Proxy server stopped")):
        each.send(signal.SIGTERM)
        assert each.wait() == 0, each.log
        assert "Signal received, draining" in each.log
        assert last in each.log
    web.kill()


def test_a_signal_that_comes_while_the_program_starts_is_not_lost(product_image, host):
    """The kernel drops signals to process 1 without a handler, so the handler must exist early."""
    image, _ = product_image
    early = "import os, signal, sys; sys.argv = ['/proxy-server'];"
    early += (
        "import konnectivity.runtime.launcher as m; m.importlib.import_module = lambda _: os.kill(1, signal.SIGTERM);"
    )
    started = host.start(image, "early", ["/opt/konnectivity/bin/python3", "-IBc", f"{early} m.main()"], {})
    assert started.wait() == 0, started.log


@pytest.mark.parametrize("name", ["/proxy-server", "/usr/bin/proxy-server", "/proxy-agent", "/usr/bin/proxy-agent"])
@pytest.mark.parametrize("which", [0, 1], ids=["image", "with a shell"])
def test_each_name_is_the_program(product_image, host, which, name):
    asked = host.start(product_image[which], "help", [name, "--help"], {})
    assert asked.wait() == 0, asked.log
    assert f"{Path(name).name} " in asked.log


def test_the_tool_is_there(product_image, host):
    asked = host.start(product_image[0], "tool", ["/usr/bin/konnectivity", "--version"], {})
    assert asked.wait() == 0, asked.log
    assert asked.log.startswith("konnectivity ")


def test_only_the_variant_has_a_shell(product_image, host):
    image, with_shell = product_image
    assert not [
        name for name in ("sh", "bash", "dash", "busybox", "apt", "pip", "pip3") if list(image.rglob(f"bin/{name}"))
    ]
    slept = host.start(with_shell, "shell", ["/bin/sh", "-c", "sleep 0.1"], {})
    assert slept.wait() == 0, slept.log


def test_kubernetes_clients_and_name_service_work_in_it(product_image, host):
    code = (
        "import ssl, socket, konnectivity.kube.api_client; "
        "print(len(ssl.create_default_context().get_ca_certs()), socket.getaddrinfo('web', 80)[0][4])"
    )
    asked = host.start(product_image[0], "code", ["/opt/konnectivity/bin/python3", "-IBc", code], {})
    assert asked.wait() == 0, asked.log
    authorities, _, address = asked.log.partition(" ")
    assert int(authorities) > 50
    assert address == "('127.0.0.1', 80)\n"


def test_nothing_in_it_is_anyones_to_change(product_image):
    """All files are owned by root and not writable by others, except the places made for writing."""
    image, _ = product_image
    open_to_others = [
        str(path.relative_to(image))
        for path in image.rglob("*")
        if not path.is_symlink() and (path.stat().st_mode & 0o002 or path.stat().st_uid)
    ]
    assert sorted(open_to_others) == ["etc/konnectivity", "run/konnectivity", "tmp"]
    assert not [each for each in image.rglob("*") if not each.is_symlink() and each.stat().st_mode & 0o6000]


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is missing: apt-get install it")
def test_compose_takes_the_file():
    container_engine.run("docker-compose", "-f", ROOT / "docker/compose.yaml", "config", "--quiet")


def test_the_dockerfile_has_no_lint():
    container_engine.run(Path(sys.executable).parent / "hadolint", ROOT / "docker/Dockerfile")


def tree(root):
    """Return for every file of an image its kind, mode, time, owner and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        # A directory of the image used before has the time of the last mount point made in it.
        time = 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime
        found[str(path.relative_to(root))] = (status.st_mode, time, status.st_uid, hash(content))
    return found


def test_two_builds_have_the_same_bytes(product_image, tmp_path):
    """Another build differs in nothing but the files that an engine mounts when it starts a container."""
    image, _ = product_image
    again, _ = container_engine.build_product(tmp_path)
    first, second = tree(image), tree(again)
    assert [name for name in second if first.get(name) != second[name]] == []
    mounts = [name for name in first.keys() - second.keys() if (image / name).is_file()]
    assert [name for name in mounts if (image / name).stat().st_size] == []
    shutil.rmtree(tmp_path)


def test_the_lists_of_parts_name_every_package_and_library(product_image):
    """Debian's list has the packages of all libraries, and the list in CycloneDX' format has those of pip as well."""
    image, _ = product_image
    debian = {path.name for path in (image / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "libssl3t64", "zlib1g", "ca-certificates"} <= debian
    text = (image / "usr/share/konnectivity/image.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    parts = json.loads(text)["components"]
    assert debian <= {part["name"] for part in parts}
    packages = {part["name"] for part in parts if part["purl"].startswith("pkg:pypi/")}
    lines = {name: line for name, (line, _) in pinned("requirements.txt").items()}
    needed = {name for name, line in lines.items() if line.marker is None or line.marker.evaluate(IMAGE)}
    assert packages == needed | {"konnectivity"}
    assert "python" in {part["name"] for part in parts}


# Where the image's Python decides which packages are needed.
IMAGE = {"extra": "", "python_version": container_engine.PYTHON, "python_full_version": f"{container_engine.PYTHON}.0"}
LABELS = "title:text description:text vendor:text licenses:spdx version:text revision:text created:text"


def test_the_images_have_labels():
    """The images have all labels; only the base stage, which is not an image, lacks title and description."""
    labels = [f"--require-label=org.opencontainers.image.{each}" for each in LABELS.split()]
    hadolint = [Path(sys.executable).parent / "hadolint", *labels, "--format=json", ROOT / "docker/Dockerfile"]
    found = json.loads(subprocess.run(hadolint, capture_output=True, check=False, timeout=60).stdout)
    program = DOCKERFILE.splitlines().index("FROM scratch AS program") + 1
    assert [each["code"] for each in found if each["line"] != program] == []
    assert len(found) == 2


def test_the_build_uses_the_python_that_is_tested():
    assert f"PYTHON_IMAGE=python:{container_engine.PYTHON}-slim-{container_engine.SUITE}" in DOCKERFILE
