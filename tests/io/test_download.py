import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from ganedit.errors import GaneditError
from ganedit.io.download import download

pytestmark = pytest.mark.network

CONTENT = bytes(range(256)) * 12_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """A server of one file, and how it behaves."""

    url: str = ""
    ranges: bool = True
    cut_after: int | None = None
    with_length: bool = True
    status: int = 200
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.asked.append(wanted)
            start = int(wanted[6:-1]) if wanted and site.ranges else 0
            if site.status != 200 or start >= len(CONTENT):
                self.send_error(site.status if site.status != 200 else 416)
                return
            self.send_response(206 if start else 200)
            if site.with_length:
                self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : site.cut_after])

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}/weights.pth"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


def test_the_file_arrives_with_progress_and_is_cached(site, tmp_path):
    path = tmp_path / "cache" / "weights.pth"
    seen = []
    assert download(site.url, path, sha256=SHA256, on_progress=lambda *x: seen.append(x)) == path
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    download(site.url, path, sha256=SHA256[:8])
    assert site.asked == [None]
    assert [p.name for p in path.parent.iterdir()] == ["weights.pth"]


def test_a_cut_download_is_continued(site, tmp_path):
    path = tmp_path / "weights.pth"
    site.cut_after = 1_000_000
    with pytest.raises(GaneditError, match="cannot be fetched"):
        download(site.url, path, sha256=SHA256)
    assert not path.exists()
    assert (tmp_path / "weights.pth.part").stat().st_size == 1_000_000
    site.cut_after = None
    seen = []
    download(site.url, path, sha256=SHA256, on_progress=lambda *x: seen.append(x))
    assert site.asked == [None, "bytes=1000000-"]
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_server_without_ranges_starts_over(site, tmp_path):
    site.ranges = False
    (tmp_path / "weights.pth.part").write_bytes(b"x" * 1000)
    path = download(site.url, tmp_path / "weights.pth", sha256=SHA256)
    assert path.read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(site, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    path = download(site.url, tmp_path / "weights.pth", sha256=SHA256)
    assert path.read_bytes() == CONTENT


def test_unknown_length(site, tmp_path):
    site.with_length = False
    seen = []
    path = tmp_path / "weights.pth"
    download(site.url, path, sha256=SHA256, on_progress=lambda *x: seen.append(x))
    assert seen[-1] == (len(CONTENT), None)


def test_a_wrong_hash_leaves_nothing(site, tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(GaneditError, match="expected SHA-256 00000000…, got"):
        download(site.url, path, sha256="0" * 8)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_cached_file_is_fetched_again(site, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"damaged")
    download(site.url, path, sha256=SHA256)
    assert path.read_bytes() == CONTENT


def test_failures_are_one_line_errors(site, tmp_path):
    path = tmp_path / "weights.pth"
    site.status = 404
    with pytest.raises(GaneditError, match="the server answers 404 Not Found"):
        download(site.url, path, sha256=SHA256)
    with pytest.raises(GaneditError, match=r"cannot be fetched.*put the file at"):
        download("http://127.0.0.1:9/weights.pth", path, sha256=SHA256)
    (tmp_path / "file").write_text("")
    with pytest.raises(GaneditError, match="file"):
        download(site.url, tmp_path / "file" / "x", sha256=SHA256)


def test_arguments_are_checked(tmp_path):
    with pytest.raises(ValueError, match="url"):
        download("file:///etc/passwd", tmp_path / "x", sha256=SHA256)
    with pytest.raises(ValueError, match="sha256"):
        download("http://127.0.0.1/x", tmp_path / "x", sha256="abc")
