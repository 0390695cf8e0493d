"""Tests of `make release`: two runs make the same bytes, and what they make installs and runs in clean environments."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name

from konnectivity import __version__
from support import container_engine
from support.checkout import DOCS, ROOT
from support.container_engine import run
from support.pinned_packages import pinned
from support.shell import Shell, blocks

BIN = Path(sys.executable).parent
WHEEL = f"konnectivity-{__version__}-py3-none-any.whl"
SDIST = f"konnectivity-{__version__}.tar.gz"
(INSTALL,) = blocks(ROOT / "README.md")
_, *QUICKSTART = blocks(DOCS / "start/quickstart.md")  # without its own lines that install
PAGES = "4 of 4 pages came through the tunnel whole"
URL = "https://releases.example/v1"
OLDER = {**os.environ, "OLDER_OPENSSL": "older"}  # this machine's OpenSSL will do: nothing is shipped
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
OWN = run("python3", "-c", "import sys; print(*sys.version_info[:2], sep='.')").strip()  # the README's lines use it

pytestmark = pytest.mark.timeout(400)  # two releases at once, with the packages that they install


@pytest.fixture(scope="module")
def releases(tmp_path_factory) -> tuple[Path, Path]:
    """Make the release of the commit twice, at the same time, without the compiled wheel, which takes minutes."""
    for tool in ("twine", "check-wheel-contents", "cyclonedx-py"):
        if not (BIN / tool).exists():
            pytest.skip(f"{tool} is missing: make .venv/.stamp")
    directories = tuple(tmp_path_factory.mktemp("release") for _ in range(2))
    command = ["sh", ROOT / "scripts/release.sh"]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, each],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "RELEASE_URL": URL, "COMPILED": "no"},
                )
            )
            for each in directories
        ]
        printed = [each.communicate(timeout=380)[0].decode() for each in processes]
    assert [each.returncode for each in processes] == [0, 0], printed
    return directories


@pytest.fixture(scope="module")
def release(releases) -> Path:
    return releases[0]


def test_two_releases_have_the_same_bytes(releases):
    first, second = ((directory / "SHA256SUMS").read_text() for directory in releases)
    assert first == second
    listed = {line.split()[1] for line in first.splitlines()}
    assert listed == {path.name for path in releases[0].iterdir()} - {"SHA256SUMS"}
    assert {WHEEL, SDIST, f"konnectivity-{__version__}.cdx.json", f"konnectivity-{__version__}-host.tar.gz"} < listed


def test_the_sums_are_those_of_the_files(release):
    run("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS", cwd=release)


def test_package_indexes_would_accept_wheel_and_sdist(release):
    run(BIN / "twine", "check", "--strict", release / WHEEL, release / SDIST)
    run(BIN / "check-wheel-contents", release / WHEEL, cwd=ROOT)


def test_the_wheel_has_the_three_packages_and_its_metadata(release):
    with zipfile.ZipFile(release / WHEEL) as wheel:
        tops = {name.partition("/")[0] for name in wheel.namelist()}
        metadata = Parser().parsestr(wheel.read(f"konnectivity-{__version__}.dist-info/METADATA").decode())
    assert tops == {
        "konnectivity",
        "konnectivity_server",
        "konnectivity_agent",
        f"konnectivity-{__version__}.dist-info",
    }
    assert metadata["Author"] == "the Konnectivity for Python authors"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"grpcio", "kubernetes"} <= set(metadata.get_all("Provides-Extra"))
    assert len(metadata.get_all("Classifier")) > 8


def test_the_sdist_has_no_tests_and_no_caches(release):
    with tarfile.open(release / SDIST) as sdist:
        folders = {name.split("/")[1] for name in sdist.getnames() if name.count("/") > 1}
    assert folders == {"konnectivity", "server", "agent", "proto", "docker", "scripts"}


def test_the_list_of_parts_names_every_package(release, tmp_path):
    """The list of parts, which cyclonedx-py checks against CycloneDX' own schema, has the pinned versions."""
    document = json.loads((release / f"konnectivity-{__version__}.cdx.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    root = document["metadata"]["component"]
    assert (root["name"], root["version"]) == ("konnectivity", __version__)
    parts = {canonicalize_name(each["name"]): each for each in document["components"]}
    lines = {name: line for name, (line, _) in pinned("requirements.txt").items()}
    here = {name: line for name, line in lines.items() if line.marker is None or line.marker.evaluate({"extra": ""})}
    assert {name: each["version"] for name, each in parts.items()} == {
        name: next(iter(line.specifier)).version for name, line in here.items()
    }
    assert all(each["purl"].startswith("pkg:pypi/") for each in parts.values())
    assert sum("licenses" in each for each in parts.values()) > 0.8 * len(parts)  # others: license in prose
    (edges,) = (each["dependsOn"] for each in document["dependencies"] if each["ref"] == root["bom-ref"])
    assert len(edges) >= 5
    assert "/tmp/" not in json.dumps(document)


def test_the_chart_is_packed_with_the_version_of_the_program(release):
    with tarfile.open(release / f"konnectivity-{__version__}.tgz") as files:
        chart = yaml.safe_load(files.extractfile("konnectivity/Chart.yaml"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def programs(bin_directory: Path) -> None:
    """Check that all programs print the version, and that server and agent carry the pages of the demo."""
    for name in ("konnectivity", "kubectl-konnectivity", "proxy-server", "proxy-agent"):
        printed = run(bin_directory / name, "--version")
        assert printed.startswith(f"{name.removeprefix('kubectl-')} {__version__} ("), name
    assert PAGES in run(bin_directory / "konnectivity", "demo")


def test_the_install_lines_of_the_readme_make_all_programs(release, tmp_path):
    """The lines are pasted in a directory with the wheel, by a user with an empty home directory."""
    shutil.copy(release / WHEEL, tmp_path)
    with Shell(tmp_path, {"HOME": str(tmp_path)}) as shell:
        assert PAGES in shell.paste(INSTALL)
    programs(tmp_path / "venv/bin")


def pythons() -> dict[str, Path]:
    """Return the Pythons of this machine beside `python3`, by their version; those of pyenv among them."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = {}
    for version in SUPPORTED:
        if version == OWN:
            continue
        candidates = [shutil.which(f"python{version}"), *pyenv.glob(f"versions/{version}.*/bin/python3")]
        for path in filter(None, candidates):
            if works(path):
                found[version] = Path(path)
    return found


def works(path: str | Path) -> bool:
    return subprocess.run([path, "-c", "import ensurepip, ssl"], capture_output=True, check=False).returncode == 0


PYTHONS = pythons() or {OWN: Path(shutil.which("python3"))}


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_installs_on_each_python_of_this_machine(release, tmp_path, version):
    run(PYTHONS[version], "-m", "venv", tmp_path / "clean")
    run(tmp_path / "clean/bin/pip", "install", "--quiet", "--no-compile", f"{release / WHEEL}[kubernetes]")
    programs(tmp_path / "clean/bin")


def test_an_image_takes_a_wheel_in_the_place_of_the_sources(release, tmp_path):
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "prefix")
    run("sh", ROOT / "docker/install.sh", "program", tmp_path / "prefix", release / WHEEL, env=OLDER)
    (notes,) = (tmp_path / "prefix").glob("lib/python3*/site-packages/konnectivity-*.dist-info")
    assert not (notes / "direct_url.json").exists()
    for name in ("proxy-server", "proxy-agent", "konnectivity"):
        assert (tmp_path / "prefix/bin" / name).exists()


def test_the_sdist_installs_in_a_clean_environment(release, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "clean")
    run(tmp_path / "clean/bin/pip", "install", "--quiet", "--no-compile", release / SDIST)
    programs(tmp_path / "clean/bin")


@pytest.mark.parametrize("suite", os.environ.get("DEBIAN_SUITES", "bookworm trixie").split())
def test_the_readme_and_the_quickstart_work_on_a_fresh_debian(release, tmp_path, suite):
    """Debian with its own Python has the wheel and its dependencies, and no network but loopback."""
    if reason := container_engine.lacking():
        pytest.skip(reason)
    cache = ROOT / ".cache/docker"
    cache.mkdir(parents=True, exist_ok=True)
    python = container_engine.PYTHONS[suite]
    lists = [ROOT / "docker/requirements.txt"]
    packages = container_engine.wheels(cache, lists, [sys.executable, "-m", "pip"], python)
    root = tmp_path / "root"
    root.mkdir()
    run("tar", "-C", root, "-xf", container_engine.debian(cache, suite))
    shutil.copy(release / WHEEL, root / "root")
    (root / "wheels").mkdir()
    (root / "root/paste").write_text("".join([INSTALL, "PATH=$PWD/venv/bin:$PATH\n", *QUICKSTART, "cat agent.log\n"]))
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")  # which an installer writes
    script = f"""
        ip link set lo up
        mount --bind -o ro {packages} {root}/wheels
        mount --bind /dev {root}/dev
        mount -t proc proc {root}/proc
        exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels \
            chroot {root} bash -euc 'cd; . ./paste; konnectivity --version'
    """
    shown = run("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-euc", script)
    assert PAGES in shown
    assert re.search(rf"^konnectivity {re.escape(__version__)} \(.*Python {re.escape(python)}\.", shown, re.MULTILINE)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def host_files(release, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("host")
    with tarfile.open(release / f"konnectivity-{__version__}-host.tar.gz") as files:
        files.extractall(directory, filter="data")
    return directory / f"konnectivity-{__version__}-host"


@pytest.mark.parametrize("program", ["konnectivity", "proxy-server", "proxy-agent"])
def test_a_manual_page_is_without_faults(host_files, program):
    """groff has no warning, and the page has every option that `--help` shows."""
    page = host_files / f"man/{program}.1"
    formatted = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-P-cbou", page], capture_output=True, text=True, check=True
    )
    assert formatted.stderr == ""
    asked = run(BIN / program, "--help")
    for flag in re.findall(r"^ +(?:-\w, )?(--[\w-]+)", asked, re.MULTILINE):
        assert re.search(rf"{flag}\b", formatted.stdout), flag
    assert shutil.which("man") is None or run("man", "-l", page)


@pytest.mark.parametrize("program", ["proxy-server", "proxy-agent"])
def test_a_unit_is_valid_and_has_few_rights(host_files, tmp_path, program):
    """systemd reads the unit without a warning, and rates its exposure at most 1.5 of 10."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    unit = tmp_path / f"{program}.service"
    text = (host_files / f"systemd/{program}.service").read_text()
    unit.write_text(text.replace(f"/opt/konnectivity/bin/{program}", str(BIN / program)))
    assert run("systemd-analyze", "verify", "--man=no", unit) == ""
    rated = run("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", unit)
    stated = re.search(r"rates their exposure ([\d.]+) of 10", (DOCS / "start/host.md").read_text())[1]
    assert f": {stated} OK" in rated.splitlines()[-1]


def test_the_manifest_of_krew_names_the_archive_and_its_sum(release):
    manifest = yaml.safe_load((release / "konnectivity.yaml").read_text())
    (platform,) = manifest["spec"]["platforms"]
    archive = release / platform["uri"].removeprefix(f"{URL}/")
    assert platform["sha256"] == container_engine.run("sha256sum", archive).split()[0]
    with tarfile.open(archive) as files:
        assert {platform["bin"], "LICENSE"} == set(files.getnames())
        assert files.getmember(platform["bin"]).mode & 0o111
