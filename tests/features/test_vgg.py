import http.server
import threading

import pytest
import torch
from torchvision.models import vgg16

from ganedit.errors import GaneditError
from ganedit.features import VGG16, load_vgg16, vgg16_cache_path
from ganedit.features import vgg as module
from ganedit.features.weights import read_tensors


def _save(path, network):
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    """A weight file for the first two blocks."""
    torch.manual_seed(0)
    return _save(tmp_path_factory.mktemp("vgg") / "vgg.pth", VGG16(["relu2_2"]))


@pytest.mark.slow
def test_maps_equal_torchvisions_trunk():
    torch.manual_seed(0)
    reference = vgg16(weights=None).features.eval()
    ours = VGG16(["relu1_1", "conv1_2", "relu3_2", "conv4_2", "relu5_3"])
    ours.load_state_dict(
        {
            f"features.{k}": v
            for k, v in reference.state_dict().items()
            if f"features.{k}" in ours.state_dict()
        }
    )
    images = torch.rand(2, 3, 48, 40) * 2 - 1
    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    x = (images / 2 + 0.5 - mean) / std
    wanted = {}
    with torch.no_grad():
        for index, layer in enumerate(reference):
            if isinstance(layer, torch.nn.ReLU):
                layer.inplace = False
            x = wanted[index] = layer(x)
        maps = ours(images)
    for got, index in zip(maps, (1, 2, 13, 19, 29), strict=True):
        torch.testing.assert_close(got, wanted[index], rtol=1e-4, atol=1e-5)


def test_no_deeper_than_asked():
    assert list(VGG16(["conv1_2"]).state_dict()) == [
        "features.0.weight",
        "features.0.bias",
        "features.2.weight",
        "features.2.bias",
    ]


def test_unknown_layers_are_programming_errors():
    with pytest.raises(ValueError, match="relu5_3"):
        VGG16(["relu6_1"])


def test_loaded_from_a_path_frozen(shallow):
    network = load_vgg16(["relu2_2"], path=shallow)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert network(torch.zeros(1, 3, 8, 8))[0].shape == (1, 128, 4, 4)


def test_loaded_from_torchs_cache(shallow, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(GaneditError, match=r"vgg16-397923af.pth.*--vgg-weights"):
        load_vgg16(["relu2_2"])
    vgg16_cache_path().parent.mkdir()
    vgg16_cache_path().write_bytes(shallow.read_bytes())
    load_vgg16(["relu2_2"])


class _Exploit:
    def __reduce__(self):
        return (print, ("executed",))


def test_bad_weight_files_are_one_line_errors(shallow, tmp_path, capsys):
    path = tmp_path / "bad.pth"
    state = read_tensors(shallow)

    def message():
        with pytest.raises(GaneditError) as caught:
            load_vgg16(["relu2_2"], path=path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file" in message()
    path.write_bytes(b"")
    assert "not a file of plain tensors" in message()
    path.write_bytes(shallow.read_bytes()[:5000])
    assert "not a file of plain tensors" in message()
    torch.save([1, 2], path)
    assert "not a dict of tensors" in message()
    torch.save({"features.0.weight": _Exploit()}, path)
    assert "not a file of plain tensors" in message()
    torch.save({k: v for k, v in state.items() if k != "features.5.bias"}, path)
    assert "features.5.bias should be [128], is missing" in message()
    torch.save(state | {"features.0.weight": torch.zeros(4, 3, 3, 3)}, path)
    assert "should be [64, 3, 3, 3], is [4, 3, 3, 3]" in message()
    torch.save(state | {"features.0.bias": torch.full((64,), torch.nan)}, path)
    assert "not finite" in message()
    assert "executed" not in capsys.readouterr().out


@pytest.mark.network
def test_download_refuses_another_file(monkeypatch, tmp_path):
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"a quota page")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/vgg16-397923af.pth"
        monkeypatch.setattr(module, "VGG16_URL", address)
        with pytest.raises(GaneditError, match="SHA-256 397923af"):
            module.download_vgg16()
        server.shutdown()
        thread.join()
    assert not vgg16_cache_path().exists()
