"""Rows FV-107, FV-111, FV-114 to FV-116 in spirit: fetched once, checked, resumed, explained."""

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from okulo_core.errors import DataError, MissingFileError
from okulo_core.io import cache_dir, local_path

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.content`` under every path but /missing, as the server's fields say."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.respond(body=False)

    def do_GET(self):
        self.respond(body=True)

    def respond(self, body):
        server, wanted = self.server, self.headers.get("Range")
        if body:
            server.requests.append(wanted)
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        content, status, headers = server.content, 200, {}
        if wanted and server.ranges:
            first, last = wanted.removeprefix("bytes=").split("-")
            last = min(int(last or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content, status = content[int(first) : last + 1], 206
        self.send_response(status)
        headers |= {"Content-Length": str(len(content)), "ETag": f'"{hash(server.content)}"'}
        headers["Accept-Ranges"] = "bytes" if server.ranges else "none"
        for item in headers.items():
            self.send_header(*item)
        self.end_headers()
        if not body:
            return
        if server.break_after is not None:
            self.wfile.write(content[: server.break_after])
            self.wfile.flush()
            time.sleep(0.2)  # so that the client has what was sent before the line goes dead
            self.close_connection = True
            return
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.ranges, server.break_after, server.requests = CONTENT, True, None, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OKULO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.name for path in found if path.suffix != ".lock")


def test_a_local_file_is_itself(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")

    assert local_path(tmp_path / "a") == tmp_path / "a"


def test_a_missing_local_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=f"there is no file {tmp_path}/a"):
        local_path(tmp_path / "a")


def test_a_local_file_is_checked_too(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")

    with pytest.raises(DataError, match=r"a has sha256 ba78.*, expected 0000"):
        local_path(tmp_path / "a", sha256="0000")
    assert (tmp_path / "a").exists()


def test_a_remote_file_is_fetched_once(server, cache):
    first = local_path(f"{server.url}/weights/r50.bin", sha256=SHA256.upper())
    count = len(server.requests)
    second = local_path(f"{server.url}/weights/r50.bin", sha256=SHA256)

    assert first == second == cache / f"127.0.0.1_{server.server_port}" / "weights" / "r50.bin"
    assert first.read_bytes() == CONTENT
    assert len(server.requests) == count
    assert files(cache) == ["r50.bin"]


def test_a_given_cache_is_used(server, tmp_path):
    assert local_path(f"{server.url}/a.bin", cache=tmp_path / "mine").is_relative_to(
        tmp_path / "mine"
    )


def test_any_file_system_of_fsspec_is_fetched(cache):
    import fsspec

    fsspec.filesystem("memory").pipe("/zoo/a.bin", b"abc")

    assert local_path("memory://zoo/a.bin") == cache / "zoo" / "a.bin"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_continued(server, cache, ranges):
    server.ranges, server.break_after = ranges, 100_000
    with pytest.raises(MissingFileError, match=r"cannot fetch a\.bin"):
        local_path(f"{server.url}/a.bin", sha256=SHA256)
    (partial,) = files(cache)
    assert partial.endswith(".part")

    server.break_after = None
    server.requests.clear()
    assert local_path(f"{server.url}/a.bin", sha256=SHA256).read_bytes() == CONTENT
    assert files(cache) == ["a.bin"]
    if ranges:
        assert server.requests == ["bytes=100000-299999"]


def test_a_download_that_only_lacked_its_last_step_is_not_repeated(server, cache):
    server.break_after = 100_000
    with pytest.raises(MissingFileError):
        local_path(f"{server.url}/a.bin")
    (partial,) = cache.rglob("*.part")
    partial.write_bytes(CONTENT)
    server.requests.clear()

    assert local_path(f"{server.url}/a.bin", sha256=SHA256).read_bytes() == CONTENT
    assert server.requests == []


def test_a_remote_file_that_changed_is_fetched_from_the_start(server, cache):
    server.break_after = 100_000
    with pytest.raises(MissingFileError):
        local_path(f"{server.url}/a.bin")
    server.break_after, server.content = None, CONTENT[::-1]

    assert local_path(f"{server.url}/a.bin").read_bytes() == CONTENT[::-1]
    assert files(cache) == ["a.bin"]


def test_a_wrong_checksum_leaves_no_file(server, cache):
    with pytest.raises(DataError, match=f"a.bin has sha256 {SHA256}, expected 0123"):
        local_path(f"{server.url}/a.bin", sha256="0123")
    assert files(cache) == []


def test_a_cached_file_with_a_wrong_checksum_is_fetched_again(server):
    path = local_path(f"{server.url}/a.bin")
    path.write_bytes(b"damaged")

    assert local_path(f"{server.url}/a.bin", sha256=SHA256).read_bytes() == CONTENT


def test_an_empty_file_is_not_kept(server, cache):
    server.content = b""

    with pytest.raises(MissingFileError, match="received 0 bytes"):
        local_path(f"{server.url}/a.bin")
    assert "a.bin" not in files(cache)


def test_without_a_network_the_message_says_what_to_put_where(cache):
    url = "http://127.0.0.1:9/zoo/r50.bin"
    with pytest.raises(MissingFileError) as info:
        local_path(url)

    target = cache / "127.0.0.1_9" / "zoo" / "r50.bin"
    assert "cannot fetch r50.bin" in str(info.value)
    assert url in str(info.value)
    assert f"put it at {target}" in str(info.value)
    target.write_bytes(b"by hand")
    assert local_path(url).read_bytes() == b"by hand"


def test_a_file_the_server_lacks_is_reported_with_its_address(server):
    with pytest.raises(MissingFileError, match=f"from: {server.url}/missing.bin"):
        local_path(f"{server.url}/missing.bin")


def test_different_queries_and_long_names_do_not_collide(server, cache):
    long = "n" * 300
    paths = {local_path(f"{server.url}/{name}") for name in ("a?v=1", "a?v=2", long, long + "n")}

    assert len(paths) == 4
    assert all(len(path.name) < 255 for path in paths)


def test_an_address_cannot_leave_the_cache(server, cache):
    path = local_path(f"{server.url}/%2e%2e/%2e%2e/%2e%2e/a.bin")

    assert path.resolve().is_relative_to(cache.resolve())


def test_processes_that_want_the_same_file_fetch_it_once(server):
    threads = [threading.Thread(target=local_path, args=(f"{server.url}/a.bin",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(server.requests) == 1


def test_the_cache_folder_comes_from_argument_environment_or_home(tmp_path, monkeypatch):
    assert cache_dir(tmp_path / "given") == tmp_path / "given"
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("OKULO_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "okulo"
    assert cache_dir().is_dir()


def test_a_cache_that_cannot_be_made_is_replaced_with_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    (tmp_path / "file").touch()

    assert cache_dir(tmp_path / "file" / "cache") == tmp_path / "okulo_cache"
    assert "cannot write to the cache" in caplog.text
