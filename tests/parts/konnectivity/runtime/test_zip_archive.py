"""Compiled modules from a zip file: the folder they are extracted to, and the error when no folder can be used."""

from __future__ import annotations

import os
import sysconfig
import zipfile
from contextlib import contextmanager
from importlib.util import module_from_spec
from pathlib import Path

import pytest
import yaml

from konnectivity.runtime.zip_archive import ExtensionModule, ExtensionModules, in_directory, in_memory, module_name

MODULE = "somewhere._yaml"
FILE = next(Path(yaml.__file__).parent.glob("_yaml.*.so"))
MEMBER = f"somewhere/{FILE.name}"


@pytest.fixture
def archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive", "w") as file:
        file.writestr(MEMBER, FILE.read_bytes())
        file.writestr("broken.so", b"\x7fELF, and then nothing of the kind")
    return str(tmp_path / "archive")


@contextmanager
def nowhere(data):
    raise PermissionError(13, "not here")
    yield ""


def load(archive, name):
    spec = ExtensionModules(archive, [MEMBER, "broken.so"]).find_spec(name)
    return module_from_spec(spec)


@pytest.mark.parametrize("place", [in_memory, in_directory])
def test_a_module_is_loaded_and_leaves_nothing(archive, tmp_path, monkeypatch, place):
    monkeypatch.setattr(ExtensionModule, "places", [place])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    module = load(archive, MODULE)
    assert module.__spec__.loader.exec_module(module) is None
    assert module.get_version_string().count(".") == 2
    assert module.__file__ == module.__spec__.origin == f"{archive}/{MEMBER}"
    assert [each.name for each in tmp_path.iterdir()] == ["archive"]
    assert ("memfd:konnectivity" in Path("/proc/self/maps").read_text()) or place is in_directory


def test_the_next_place_is_tried(archive, monkeypatch):
    monkeypatch.setattr(ExtensionModule, "places", [nowhere, in_memory])
    assert load(archive, MODULE).__name__ == MODULE


def test_what_cannot_be_loaded_is_an_import_error_with_all_reasons(archive, monkeypatch):
    monkeypatch.setattr(ExtensionModule, "places", [nowhere, in_memory])
    with pytest.raises(ImportError, match=r"cannot load .*/broken\.so: .*not here; .*(header|too short)"):
        load(archive, "broken")


def test_files_in_memory_stay_and_are_not_inherited():
    with in_memory(b"one") as first, in_memory(b"two") as second:
        pass
    assert first != second
    assert (Path(first).read_bytes(), Path(second).read_bytes()) == (b"one", b"two")
    for path in (first, second):
        assert not os.get_inheritable(int(Path(path).name))
        os.close(int(Path(path).name))


def test_other_modules_are_not_its_business(archive):
    assert ExtensionModules(archive, [MEMBER]).find_spec("somewhere") is None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("google/_upb/_message.abi3.so", "google._upb._message"),
        (f"uvloop/loop{sysconfig.get_config_var('EXT_SUFFIX')}", "uvloop.loop"),
        ("plain.so", "plain"),
    ],
)
def test_names(path, name):
    assert module_name(path) == name


def test_a_module_of_another_kind_of_system():
    with pytest.raises(ValueError, match="is no compiled module of this Python"):
        module_name("some.dll")
