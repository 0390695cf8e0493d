"""Files that are replaced in one step."""

from __future__ import annotations

import pytest

from konnectivity.runtime import atomic_file


def test_a_file_has_its_mode_from_the_first_moment(tmp_path):
    path = atomic_file.write(tmp_path / "new" / "key", b"secret", atomic_file.PRIVATE)
    assert path.read_bytes() == b"secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["key"]


def test_whoever_has_the_old_one_open_goes_on_reading_it(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with path.open("rb") as old:
        atomic_file.write(path, b"new", atomic_file.PUBLIC)
        assert old.read() == b"old"
    assert path.read_bytes() == b"new"


def test_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"untouched")
    (tmp_path / "key").symlink_to("elsewhere")
    atomic_file.write(tmp_path / "key", b"secret", atomic_file.PRIVATE)
    assert (tmp_path / "elsewhere").read_bytes() == b"untouched"
    assert not (tmp_path / "key").is_symlink()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        atomic_file.write(tmp_path / "file" / "key", b"", atomic_file.PRIVATE)
