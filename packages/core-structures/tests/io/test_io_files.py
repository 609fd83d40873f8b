"""Rows MM-001 to MM-008, MM-011, MM-012, FV-102 to FV-107 in spirit: any URL; whole writes."""

import os
import subprocess
import sys

import fsspec
import pytest
from fsspec.registry import known_implementations

from okulo_core.errors import DataError
from okulo_core.io import (
    atomic_write,
    dict_from_file,
    filesystem,
    is_url,
    list_from_file,
    open_file,
    read_bytes,
    resolve,
)


def test_importing_io_imports_neither_torch_nor_fsspec():
    code = "import sys, okulo_core.io; print([m for m in ('torch', 'fsspec') if m in sys.modules])"

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_resolve_knows_home_datasets_and_file_urls(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OKULO_DATASETS", "/big/disk/")

    assert resolve("~/x.json") == str(tmp_path / "x.json")
    assert resolve("datasets://coco/val") == "/big/disk/coco/val"
    assert resolve("file:///a/b") == "/a/b"
    assert resolve("a/b") == "a/b"
    assert resolve("s3://bucket/a") == "s3://bucket/a"


def test_datasets_lie_in_the_working_folder_by_default(monkeypatch):
    monkeypatch.delenv("OKULO_DATASETS", raising=False)

    assert resolve("datasets://coco") == os.path.join("datasets", "coco")


def test_datasets_may_lie_in_a_bucket(monkeypatch):
    monkeypatch.setenv("OKULO_DATASETS", "s3://bucket")

    assert resolve("datasets://coco") == "s3://bucket/coco"


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("http://x/y", True),
        ("simplecache::s3://x/y", True),
        ("memory://x", True),
        ("file:///x", False),
        ("C:\\x\\y", False),
        ("a/b://c", False),
    ],
)
def test_a_url_is_told_from_a_path(path, remote):
    assert is_url(path) == remote


def test_local_text_is_utf8(tmp_path):
    (tmp_path / "ä.txt").write_bytes("größe\n".encode())

    with open_file(tmp_path / "ä.txt") as file:
        assert file.read() == "größe\n"
    assert read_bytes(str(tmp_path / "ä.txt")) == "größe\n".encode()


def test_any_file_system_of_fsspec_can_be_read_and_written():
    with open_file("memory://folder/a.txt", "w") as file:
        file.write("größe")

    assert read_bytes("memory://folder/a.txt") == "größe".encode()
    system, inner = filesystem("memory://folder/a.txt")
    assert system.exists(inner)


def test_a_users_own_backend_needs_only_fsspec():
    from fsspec.implementations.memory import MemoryFileSystem

    class Attic(MemoryFileSystem):
        protocol = "attic"
        store = {"/old.txt": None}  # noqa: RUF012
        pseudo_dirs = [""]  # noqa: RUF012

    fsspec.register_implementation("attic", Attic, clobber=True)
    with open_file("attic://new.txt", "wb") as file:
        file.write(b"1")

    assert read_bytes("attic://new.txt") == b"1"


def test_an_unknown_protocol_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"nosuch.*known protocols: .*s3"):
        read_bytes("nosuch://a/b")


@pytest.mark.parametrize(
    ("target", "package"),
    [("s4fs_missing.S4", "s4fs_missing"), ("fsspec.implementations.missing.S4", r"fsspec\[s4\]")],
)
def test_a_missing_package_is_named(monkeypatch, target, package):
    monkeypatch.setitem(known_implementations, "s4", {"class": target, "err": "Install it"})

    with pytest.raises(ImportError, match=rf"s4://a/b needs the package .*pip install '{package}'"):
        read_bytes("s4://a/b")


@pytest.mark.parametrize(("mode", "content"), [("w", "größe"), ("wb", b"\0\1")])
def test_atomic_write_makes_folders_and_leaves_only_the_file(tmp_path, mode, content):
    path = tmp_path / "new" / "a.bin"
    with atomic_write(path, mode) as file:
        file.write(content)

    assert path.read_bytes() == (content if mode == "wb" else content.encode())
    assert os.listdir(path.parent) == ["a.bin"]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half():
        with atomic_write(path) as file:
            file.write("half of the n")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()

    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


FULL_DISK = """
import resource, signal, sys
from okulo_core.io import atomic_write

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with atomic_write(sys.argv[1], "wb") as file:
        file.write(bytes(5000))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_a_disk_without_room_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    output = subprocess.check_output([sys.executable, "-c", FULL_DISK, str(path)], text=True)

    assert output.strip() == "File too large"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with atomic_write(tmp_path / "link") as file:
        file.write("new")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_a_new_file_has_the_ordinary_permissions(tmp_path):
    (tmp_path / "ordinary").touch()
    with atomic_write(tmp_path / "atomic") as file:
        file.write("x")

    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_only_whole_writes_are_atomic(tmp_path):
    with pytest.raises(ValueError, match="mode 'w' or 'wb', got 'a'"), atomic_write("x", "a"):
        pass


def test_lines_keep_their_blanks(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"a \r\n\n b\nc")
    path = tmp_path / "list.txt"

    assert list_from_file(path) == ["a ", "", " b", "c"]
    assert list_from_file(path, prefix="x/", offset=2, max_num=1) == ["x/ b"]
    assert list_from_file(path, offset=9) == []


def test_columns_are_found_by_the_first(tmp_path):
    (tmp_path / "map.txt").write_text("1 cat\n2  big dog\n1 mouse\n")

    assert dict_from_file(tmp_path / "map.txt") == {"1": "mouse", "2": ["big", "dog"]}
    assert dict_from_file(tmp_path / "map.txt", key_type=int)[1] == "mouse"


@pytest.mark.parametrize("line", ["", "alone"])
def test_a_line_without_a_second_column_is_named(tmp_path, line):
    (tmp_path / "map.txt").write_text(f"1 cat\n{line}\n")

    with pytest.raises(DataError, match=rf"map\.txt, line 2: .* got '{line}'"):
        dict_from_file(tmp_path / "map.txt")
