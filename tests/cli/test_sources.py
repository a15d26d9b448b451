import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganedit.checkpoints import load_network
from ganedit.cli import console
from ganedit.cli.sources import locate_network, open_network
from ganedit.io import load_latent

pytestmark = pytest.mark.network


@pytest.fixture
def served(tmp_path: Path, network_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a folder with the tiny network as net.safetensors; stops when closed."""
    monkeypatch.setenv("GANEDIT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "net.safetensors").write_bytes(network_path.read_bytes())
    (folder / "page.pkl").write_text("<!DOCTYPE html><title>Quota exceeded</title>")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_network_of_an_address_works_like_a_file(run, served, network, tmp_path):
    url = f"{served}/net.safetensors"
    arguments = ["--network", url, "--seeds", "0-1", "--save-latents", "--device", "cpu"]
    result = run("generate", *arguments)
    assert result.exit_code == 0, result.output
    latent = load_latent("out/seed0000.pt")
    assert (latent.network, latent.fingerprint) == (url, network.fingerprint)
    # From now on nothing is asked: the file's absence on the server does not matter.
    (tmp_path / "served" / "net.safetensors").unlink()
    latents = ["out/seed0000.pt", "out/seed0001.pt"]
    result = run("interpolate", *latents, "--frames", "2", "--gif", "--out", "path")
    assert result.exit_code == 0, result.output
    mixed = run("mix", "--rows", "0", "--cols", "1", "--layers", "2-3", "--network", url)
    assert mixed.exit_code == 0, mixed.output


def test_a_page_in_place_of_a_network_is_one_line(fails, served):
    line = fails("generate", "--network", f"{served}/page.pkl")
    assert "expected a network, got an HTML page titled 'Quota exceeded'" in line
    assert "the server answers 404" in fails("generate", "--network", f"{served}/absent.pkl")


def test_a_bar_is_shown_while_fetching_and_only_then(served, monkeypatch):
    shown = []

    class Bar:
        def __init__(self, title: str) -> None:
            shown.append(title)

        def __enter__(self) -> object:
            return lambda step, total, values: shown.append((step, total))

        def __exit__(self, *error: object) -> None:
            shown.append("closed")

    monkeypatch.setattr(console, "progress", Bar)
    url = f"{served}/net.safetensors"
    fetched = open_network(url, device="cpu")
    assert shown[0] == "Fetching the network, MB"
    assert shown[-1] == "closed"
    shown.clear()
    assert load_network(locate_network(url)).fingerprint == fetched.fingerprint
    assert shown == []
