import errno
import hashlib
import http.server
import io
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from ganedit.errors import GaneditError
from ganedit.io import download as downloads
from ganedit.io.download import START_BYTES, download

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
    content: bytes = CONTENT
    etag: str | None = None
    redirect: str | None = None
    stall: threading.Event | None = None
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.asked.append(wanted)
            start = int(wanted[6:-1]) if wanted and site.ranges else 0
            if self.headers.get("If-Range", site.etag) != site.etag:
                start = 0
            if site.redirect is not None:
                self.send_response(302)
                self.send_header("Location", site.redirect)
                self.end_headers()
                return
            if site.status != 200 or start >= max(1, len(site.content)):
                self.send_error(site.status if site.status != 200 else 416)
                return
            self.send_response(206 if start else 200)
            if site.with_length:
                self.send_header("Content-Length", str(len(site.content) - start))
            if site.etag is not None:
                self.send_header("ETag", site.etag)
            self.end_headers()
            if site.stall is not None:
                self.wfile.write(site.content[: 3 << 19])
                site.stall.wait(60)
                return
            self.wfile.write(site.content[start : site.cut_after])

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


def test_without_a_hash_a_cut_download_is_continued_in_the_same_version(site, tmp_path):
    path = tmp_path / "weights.pth"
    site.etag, site.cut_after = '"one"', 1_000_000
    with pytest.raises(GaneditError, match="closed after 1000000 of 3072000 bytes"):
        download(site.url, path)
    site.cut_after = None
    download(site.url, path)
    assert site.asked == [None, "bytes=1000000-"]
    assert path.read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["weights.pth"]


@pytest.mark.parametrize("etag", ['"two"', None, 'W/"one"'])
def test_two_versions_of_a_file_are_never_spliced(site, tmp_path, etag):
    path = tmp_path / "weights.pth"
    site.etag, site.cut_after = etag and etag.replace("two", "one"), 1_000_000
    with pytest.raises(GaneditError, match="closed after"):
        download(site.url, path)
    site.etag, site.cut_after, site.content = etag, None, CONTENT[::-1]
    assert download(site.url, path).read_bytes() == CONTENT[::-1]


@pytest.mark.slow
def test_a_killed_download_is_continued(site, tmp_path):
    site.etag, site.stall = '"one"', threading.Event()
    code = "import sys; from ganedit.io.download import download; download(*sys.argv[1:])"
    path = tmp_path / "weights.pth"
    process = subprocess.Popen([sys.executable, "-c", code, site.url, str(path)])
    part = tmp_path / "weights.pth.part"
    deadline = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size >= 1 << 20) and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(GaneditError, match="another process is fetching this file"):
        download(site.url, path)
    process.kill()
    process.wait()
    site.stall.set()
    assert not path.exists()
    got = part.stat().st_size
    site.stall = None
    assert download(site.url, path).read_bytes() == CONTENT
    assert site.asked[-1] == f"bytes={got}-"


def test_a_complete_part_of_unknown_hash_is_fetched_anew(site, tmp_path):
    site.etag = '"one"'
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    (tmp_path / "weights.pth.part.version").write_text('"one"')
    assert download(site.url, tmp_path / "weights.pth").read_bytes() == CONTENT
    assert site.asked == [f"bytes={len(CONTENT)}-", None]


def test_the_start_is_checked_before_anything_is_kept(site, tmp_path):
    seen = []

    def refuse(start: bytes) -> None:
        seen.append(start)
        raise GaneditError("not what was asked for")

    for content in (CONTENT, b"short", b""):
        site.content = content
        with pytest.raises(GaneditError, match="not what"):
            download(site.url, tmp_path / "weights.pth", check_start=refuse)
        assert seen[-1] == content[:START_BYTES]
        assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_good_without_a_hash(site, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"mine")
    assert download(site.url, tmp_path / "weights.pth").read_bytes() == b"mine"
    assert site.asked == []


def test_files_beyond_reason_are_refused(site, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "MAX_BYTES", 1_500_000)
    for site.with_length in (True, False):
        with pytest.raises(GaneditError, match="more than 0 GB, which no network is"):
            download(site.url, tmp_path / "weights.pth")
        assert not (tmp_path / "weights.pth").exists()


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_server_cannot_lead_elsewhere(site, tmp_path, target):
    site.redirect = target
    with pytest.raises(GaneditError, match=r"is not (https; refused|allowed)"):
        download(site.url, tmp_path / "weights.pth")
    assert list(tmp_path.iterdir()) == []


def test_https_never_leads_to_http():
    request = urllib.request.Request("https://example.org/a")
    handler = downloads._NoDowngrade()
    with pytest.raises(GaneditError, match="which is not https"):
        handler.redirect_request(request, io.BytesIO(), 302, "", {}, "http://example.org/b")
    onward = handler.redirect_request(request, io.BytesIO(), 302, "", {}, "https://example.net/b")
    assert onward.full_url == "https://example.net/b"


def test_a_full_disk_is_one_line(site, tmp_path, monkeypatch):
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads, "_copy", refuse)
    with pytest.raises(GaneditError, match="no space left on the device"):
        download(site.url, tmp_path / "weights.pth")


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
