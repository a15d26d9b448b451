import hashlib
import http.server
import json
import os
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ganedit.assets import asset_path
from ganedit.checkpoints import sources
from ganedit.checkpoints.sources import home, is_here, locate
from ganedit.errors import GaneditError

CONTENT = pickle.dumps({"G_ema": bytes(range(256)) * 2000})
SHA256 = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "0123456789" * 4

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """A server of some files; a path's answer can be replaced by a function."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if path in site.answers:
                site.answers[path](self)
            elif path in site.files:
                send(self, site.files[path])
            else:
                self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


def send(
    handler: http.server.BaseHTTPRequestHandler, content: bytes, status: int = 200, **headers: str
) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANEDIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "networks"


def refusal(source: object) -> str:
    with pytest.raises(GaneditError) as caught:
        locate(str(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Names and files


def test_names_and_files_are_found(tmp_path):
    path = tmp_path / "net.pkl"
    path.write_bytes(CONTENT)
    assert locate("clay") == asset_path("clay")
    assert locate(str(path)) == path
    assert home("clay") == "clay"
    assert home(os.path.relpath(path)) == str(path)
    assert is_here("clay")
    assert is_here("absent.pkl")  # fails without fetching


def test_what_is_no_file_is_one_line(tmp_path):
    assert "is a folder; a network is a file" in refusal(tmp_path)
    names = "(embedded: clay, clay-emoji, clay-3d)"
    assert f"no embedded model of that name {names}" in refusal("absent.pkl")
    assert refusal("Clay").endswith("did you mean clay?")
    assert "cannot be a file" in refusal("x" * 5000)
    assert "unknown kind of address" in refusal("ftp://example.org/net.pkl")


# URLs


@pytest.mark.network
def test_a_url_is_fetched_once_and_pinned(site, cache):
    site.files["/models/net.pkl"] = CONTENT
    url = f"{site.address}/models/net.pkl?download=1"
    seen = []
    assert not is_here(url)
    path = locate(url, on_progress=lambda done, total: seen.append((done, total)))
    assert path.name == "net.pkl"
    assert path.parent.parent == cache
    assert path.parent.name.startswith("127.0.0.1-")
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    record = json.loads((path.parent / "_source.json").read_text())
    assert (record["url"], record["sha256"], record["size"]) == (url, SHA256, len(CONTENT))
    assert is_here(url)
    assert locate(url) == path
    assert len(site.asked) == 1
    assert home(url) == url


@pytest.mark.network
def test_two_urls_of_one_name_are_two_files(site):
    site.files |= {"/a/net.pkl": CONTENT, "/b/net.pkl": CONTENT + b"."}
    first, second = (locate(f"{site.address}/{folder}/net.pkl") for folder in "ab")
    assert first != second
    assert second.read_bytes() == CONTENT + b"."


@pytest.mark.network
def test_a_given_hash_is_held(site, cache):
    site.files["/net.pkl"] = CONTENT
    wrong = f"{site.address}/net.pkl#sha256={'0' * 64}"
    line = refusal(wrong)
    assert "0" * 64 in line
    assert SHA256 in line
    assert not [path for path in cache.rglob("*") if path.is_file()]
    right = f"{site.address}/net.pkl#sha256={SHA256.upper()}"
    assert locate(right).read_bytes() == CONTENT
    assert home(right) == right
    assert f"expected SHA-256 {'0' * 64}" in refusal(wrong)
    assert "8 to 64 hex digits" in refusal(f"{site.address}/net.pkl#sha256=123")


@pytest.mark.network
def test_a_changed_pin_is_refused_with_both_hashes(site):
    site.files["/net.pkl"] = CONTENT
    url = f"{site.address}/net.pkl"
    path = locate(url)
    path.touch()
    assert locate(url) == path  # the same bytes with another time
    path.write_bytes(CONTENT + b"x")
    line = refusal(url)
    assert SHA256 in line
    assert hashlib.sha256(CONTENT + b"x").hexdigest() in line
    record = Path(re.search(r"delete (\S+_source.json) to accept", line)[1])
    path.unlink()
    assert locate(url) == path
    # The same holds when the server changed its mind.
    path.unlink()
    site.files["/net.pkl"] = CONTENT + b"y"
    assert "was pinned on" in refusal(url)
    record.unlink()
    assert locate(url).read_bytes() == CONTENT + b"y"


@pytest.mark.network
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (
            b"\n <!DOCTYPE html><html><head><title>Google Drive -\n Quota &amp; more</title>",
            "an HTML page titled 'Google Drive - Quota & more'",
        ),
        (b"<html>" + b"x" * 100_000, "an HTML page"),
        (b'{"error": "not found"}', 'a JSON answer \'{"error": "not found"}\''),
        (b'{"err": {"code": 404}}', "a JSON answer"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n", "a Git LFS pointer"),
        (b"\x00\x01\x02" * 50, "something unknown; "),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_not_kept(site, cache, content, words):
    site.files["/net.pkl"] = content
    line = refusal(f"{site.address}/net.pkl")
    assert f"expected a network, got {words}" in line
    assert "fetch the file in a browser and put it at" in line
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.network
def test_a_failing_server_is_one_line(site):
    line = refusal(f"{site.address}/absent.pkl")
    assert "the server answers 404" in line
    assert "put the file at" in line
    site.answers["/private.pkl"] = lambda handler: send(handler, b"", status=403)
    assert "perhaps it wants a login" in refusal(f"{site.address}/private.pkl")
    site.answers["/busy.pkl"] = lambda handler: send(handler, b"", status=503)
    assert "try again later" in refusal(f"{site.address}/busy.pkl")


def test_offline_the_error_says_where_to_put_the_file(cache):
    url = "http://127.0.0.1:9/models/net.pkl"
    line = refusal(url)
    assert line.startswith(f"{url}: cannot be fetched (Connection refused)")
    place = Path(line.partition("put the file at ")[2])
    assert place.is_relative_to(cache)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"<html><title>Sign in</title>")
    assert f"an HTML page titled 'Sign in'; delete {place}" in refusal(url)
    place.write_bytes(CONTENT)
    assert locate(url) == place
    assert json.loads((place.parent / "_source.json").read_text())["sha256"] == SHA256


def test_a_cache_for_reading_only_will_do(monkeypatch):
    url = "http://127.0.0.1:9/models/net.pkl"
    place = sources._parse(url).place
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)

    def refuse(path: object, content: object) -> None:
        raise GaneditError("read-only")

    monkeypatch.setattr(sources, "write_bytes", refuse)
    assert locate(url) == place


@pytest.mark.parametrize("content", [b"", b"[", b"{}", b'{"url": 3}', b"[" * 100_000])
def test_a_broken_record_is_made_anew(content):
    url = "http://127.0.0.1:9/models/net.pkl"
    place = sources._parse(url).place
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    (place.parent / "_source.json").write_bytes(content)
    assert locate(url) == place
    assert json.loads((place.parent / "_source.json").read_text())["sha256"] == SHA256


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("http://example.org/net.pkl", "use https://, or add #sha256="),
        ("https://", "names no host"),
        ("https://user:secret@example.org/net.pkl", "fetch the file by hand"),
        ("https://example.org:port/net.pkl", "not a proper address"),
        ("https://[::1/net.pkl", "not a proper address"),
        ("https://exämple.org/net.pkl", "not a proper address"),
        ("https://a..b/net.pkl", "not a proper address"),
        (f"https://{'a' * 64}.org/net.pkl", "not a proper address"),
        ("https://example.org/\udcff.pkl", "not a proper address"),
        ("https://example.org/net.pkl#page=2", "only sha256="),
        ("https://drive.google.com/uc?id=1", "Google Drive asks"),
        ("hf://owner/repo", "not an address on the Hub"),
        ("hf://owner/repo@/net.pkl", "not an address on the Hub"),
        ("hf://owner/repo/../net.pkl", "not an address on the Hub"),
        ("hf://owner/repo/\udcff.pkl", "not an address on the Hub"),
    ],
)
def test_bad_addresses_are_refused_before_anything_is_asked(source, words):
    line = refusal(source)
    assert words in line
    assert "secret" not in line


def test_an_address_never_names_a_file_outside_the_cache(cache):
    for end in ("..", "%2e%2e", "..%2f..%2fx", "_source.json", ".bashrc", "", "x" * 300):
        place = sources._parse(f"https://example.org/a/{end}").place
        assert place.parent.parent == cache
        assert place.name not in ("", "..", "_source.json", ".bashrc")
        assert len(place.name) <= 100


def test_the_cache_is_where_the_system_keeps_caches(tmp_path, monkeypatch):
    monkeypatch.delenv("GANEDIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert sources.cache_folder() == tmp_path / "xdg" / "ganedit" / "networks"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sources.cache_folder() == tmp_path / ".cache" / "ganedit" / "networks"


# The Hub, as its own client sees it


@pytest.fixture
def hub(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A Hub with the repository ann/nets, which holds models/net.pkl."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", site.address)
    template = site.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        send(handler, CONTENT, ETag=f'"{SHA256}"', X_Repo_Commit=COMMIT)

    def missing(handler: http.server.BaseHTTPRequestHandler) -> None:
        send(handler, b"", 404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)

    for revision in ("main", "v2", COMMIT):
        site.answers[f"/ann/nets/resolve/{revision}/models/net.pkl"] = answer
        site.answers[f"/ann/nets/resolve/{revision}/models/nett.pkl"] = missing
    listing = [{"type": "file", "path": "models/net.pkl", "size": 1, "oid": "0" * 40}]
    site.files["/api/models/ann/nets/tree/main"] = json.dumps(listing).encode()
    entry = {"id": "ann/nets", "siblings": [{"rfilename": "models/net.pkl"}], "sha": COMMIT}
    site.files["/api/models/ann/nets"] = json.dumps(entry).encode()
    site.files["/api/models/ann/nets/revision/main"] = json.dumps(entry).encode()
    for name, code in (("absent", "RepoNotFound"), ("gated", "GatedRepo")):
        status = 401 if name == "absent" else 403
        site.answers[f"/ann/{name}/resolve/main/net.pkl"] = (
            lambda handler, code=code, status=status: send(
                handler, b"", status, X_Error_Code=code, X_Error_Message="no"
            )
        )
    return site


@pytest.mark.network
def test_a_file_of_the_hub_is_fetched_once(hub, cache, tmp_path, capfd):
    source = "hf://ann/nets/models/net.pkl"
    seen = []
    assert not is_here(source)
    path = locate(source, on_progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(tmp_path / "hub")  # the Hub's own cache
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    asked = list(hub.asked)
    assert is_here(source)
    assert locate(source) == path
    assert hub.asked == asked
    assert locate("hf://ann/nets@v2/models/net.pkl").read_bytes() == CONTENT
    assert any("/resolve/v2/" in line for line in hub.asked)
    assert home(source) == source
    assert capfd.readouterr() == ("", "")


@pytest.mark.network
def test_what_others_fetched_into_the_hubs_cache_is_here(hub, cache):
    from huggingface_hub import hf_hub_download

    fetched = hf_hub_download("ann/nets", "models/net.pkl")
    asked = list(hub.asked)
    source = "hf://ann/nets/models/net.pkl"
    assert is_here(source)
    assert not is_here("hf://ann/nets@v2/models/net.pkl")
    assert locate(source) == Path(fetched)
    assert hub.asked == asked


@pytest.mark.network
def test_a_hash_holds_on_the_hub_too(hub):
    assert locate(f"hf://ann/nets/models/net.pkl#sha256={SHA256}").is_file()
    assert SHA256 in refusal(f"hf://ann/nets/models/net.pkl#sha256={'0' * 64}")


@pytest.mark.network
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hf://ann/absent/net.pkl", "no model repository ann/absent on the Hub, or a private one"),
        ("hf://ann/gated/net.pkl", "the repository wants its terms accepted"),
        ("hf://ann/nets/models/nett.pkl", "no such file in ann/nets; did you mean models/net.pkl?"),
    ],
)
def test_what_the_hub_refuses_is_one_line(hub, capfd, source, words):
    line = refusal(source)
    assert line.startswith(f"{source}: {words}")
    assert capfd.readouterr() == ("", "")


@pytest.mark.network
def test_offline_a_file_of_the_hub_can_be_put_in_place(hub, cache, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    source = "hf://ann/nets/models/net.pkl"
    line = refusal(source)
    assert "cannot be fetched (HF_HUB_OFFLINE is set)" in line
    assert f"put {hub.address}/ann/nets/resolve/main/models/net.pkl at" in line
    place = Path(line.rpartition(" at ")[2])
    assert place.is_relative_to(cache)
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert locate(source) == place
    assert hub.asked == []
