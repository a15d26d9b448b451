import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ganedit.checkpoints import fingerprint, load_network, tuning
from ganedit.checkpoints.tuning import apply_tuning, load_tuning, save_tuning, synthesis_weights
from ganedit.editing import sample, synthesize
from ganedit.errors import GaneditError

KEY = "synthesis.b16.conv0.weight"


@pytest.fixture
def differences(network):
    """Differences of every synthesis weight, of rank 2 where they are matrices."""
    stream = torch.Generator().manual_seed(0)
    found = {}
    for key, weight in synthesis_weights(network.generator).items():
        rows = len(weight) if weight.ndim else 1
        columns = weight.numel() // rows
        left = torch.randn(rows, 2, generator=stream)
        found[key] = (0.01 * left @ torch.randn(2, columns, generator=stream)).reshape(weight.shape)
    return found


@pytest.fixture
def path(network, differences, tmp_path):
    path = tmp_path / "a_tuning.safetensors"
    save_tuning(path, differences, network)
    return path


def draw(network, latent):
    return torch.cat(list(synthesize(network, latent)))


@pytest.mark.parametrize("half", [True, False])
def test_a_tuned_network_is_the_original_plus_what_the_file_holds(
    network, differences, tmp_path, half
):
    saved = save_tuning(tmp_path / "a.safetensors", differences, network, half=half)
    tuned = apply_tuning(network, load_tuning(tmp_path / "a.safetensors"))
    assert saved.error < (1e-3 if half else 1e-12)
    original, changed = (synthesis_weights(n.generator) for n in (network, tuned))
    for key, difference in differences.items():
        expected = original[key] + difference
        torch.testing.assert_close(changed[key], expected, atol=1e-4 if half else 1e-7, rtol=0)
    assert fingerprint(network.generator) == network.fingerprint


def test_latents_of_the_network_fit_the_tuned_one(network, path):
    tuned = apply_tuning(network, load_tuning(path))
    assert (tuned.fingerprint, tuned.home) == (network.fingerprint, network.home)
    assert tuned.metadata["tuning"]["path"] == str(path)
    assert "tuning" not in network.metadata
    latent = sample(network, [1])
    assert (draw(tuned, latent) - draw(network, latent)).abs().max() > 0.01


def test_a_rank_as_large_as_the_change_loses_nothing_and_saves_space(
    network, differences, path, tmp_path
):
    small = save_tuning(tmp_path / "r.safetensors", differences, network, rank=2)
    assert small.error < 1e-3
    factors = load_tuning(tmp_path / "r.safetensors").factors
    assert [tuple(x.shape) for x in factors[KEY]] == [(8, 2), (2, 72)]
    assert len(factors["synthesis.b16.conv0.bias"]) == 1
    assert sum(x.numel() for parts in factors.values() for x in parts) < 0.5 * sum(
        x.numel() for x in differences.values()
    )
    one, other = (apply_tuning(network, load_tuning(p)) for p in (path, small.path))
    latent = sample(network, [1])
    torch.testing.assert_close(draw(one, latent), draw(other, latent), atol=1e-2, rtol=0)


def test_a_smaller_rank_tells_what_it_loses(network, differences, tmp_path):
    saved = save_tuning(tmp_path / "r.safetensors", differences, network, rank=1)
    assert 0.1 < saved.error < 1
    loaded = load_tuning(saved.path)
    assert (loaded.error, loaded.rank) == (saved.error, 1)
    lost = whole = 0.0
    for key, difference in differences.items():
        matrix = difference.reshape(len(difference) if difference.ndim else 1, -1)
        values = torch.linalg.svdvals(matrix.double()).square()
        dropped = len(loaded.factors[key]) == 2
        lost += float(values[1:].sum()) if dropped else 0.0
        whole += float(values.sum())
    assert saved.error == pytest.approx((lost / whole) ** 0.5, rel=1e-2)


def test_the_same_tuning_gives_the_same_bytes(network, differences, tmp_path):
    contents = []
    for name in "ab":
        save_tuning(tmp_path / f"{name}.safetensors", differences, network, rank=1)
        contents.append((tmp_path / f"{name}.safetensors").read_bytes())
    assert contents[0] == contents[1]


def test_another_generator_is_refused(other_network_path, path):
    other = load_network(other_network_path, device="cpu")
    with pytest.raises(GaneditError, match="tunes another generator"):
        apply_tuning(other, load_tuning(path))


def test_nothing_is_tuned_twice(network, path):
    loaded = load_tuning(path)
    with pytest.raises(GaneditError, match="twice"):
        apply_tuning(apply_tuning(network, loaded), loaded)


def test_what_diverged_is_not_written(network, differences, tmp_path):
    for value in (torch.nan, 1e30):
        broken = differences | {KEY: torch.full_like(differences[KEY], value)}
        with pytest.raises(GaneditError, match="diverged"):
            save_tuning(tmp_path / "a.safetensors", broken, network)
    with pytest.raises(ValueError, match="rank"):
        save_tuning(tmp_path / "a.safetensors", differences, network, rank=0)
    with pytest.raises(GaneditError, match=r"no weight mapping\.fc0\.bias"):
        save_tuning(tmp_path / "a.safetensors", {"mapping.fc0.bias": torch.ones(16)}, network)
    assert list(tmp_path.iterdir()) == []


def forge(path, *, tensors=None, drop=(), **changes):
    """Rewrite a tuning file with other tensors and other entries in its header."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["ganedit"])
    header = {key: value for key, value in (header | changes).items() if key not in drop}
    content = load_file(path) if tensors is None else tensors
    save_file(content, path, metadata={"ganedit": json.dumps(header)})


FORGERIES = {
    "another format": ({"format": "ganedit-network"}, "not a tuning"),
    "a later version": ({"version": 2}, "tuning version 2"),
    "a true version": ({"version": True}, "tuning version True"),
    "no fingerprint": ({"drop": ("fingerprint",)}, "which generator"),
    "a long network": ({"network": "a" * 10**4}, "which generator"),
    "rank zero": ({"rank": 0}, "which generator"),
    "rank of text": ({"rank": "4"}, "which generator"),
    "an endless error": ({"error": float("inf")}, "which generator"),
    "another network's part": ({"tensors": {"whole.mapping.fc0.bias": torch.ones(16)}}, "tensor"),
    "a stray tensor": ({"tensors": {"x": torch.ones(1)}}, "unexpected tensor"),
    "integers": ({"tensors": {f"whole.{KEY}": torch.ones(2, dtype=torch.int64)}}, "I64"),
    "doubles": ({"tensors": {f"whole.{KEY}": torch.ones(2, dtype=torch.float64)}}, "float64"),
    "nan": ({"tensors": {f"whole.{KEY}": torch.full((2,), torch.nan)}}, "not finite"),
    "half a product": ({"tensors": {f"left.{KEY}": torch.ones(8, 1)}}, "by half"),
    "twice": (
        {"tensors": {f"{kind}.{KEY}": torch.ones(1, 1) for kind in ("whole", "left", "right")}},
        "twice",
    ),
    "factors that do not meet": (
        {"tensors": {f"left.{KEY}": torch.ones(8, 2), f"right.{KEY}": torch.ones(3, 72)}},
        "no two factors",
    ),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_forged_files_are_refused_in_one_line(path, case):
    changes, reason = FORGERIES[case]
    forge(path, **changes)
    with pytest.raises(GaneditError, match=reason) as caught:
        load_tuning(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"hello, I am no tuning", None])
def test_other_files_are_refused_in_one_line(path, network_path, content):
    path.write_bytes(network_path.read_bytes() if content is None else content)
    with pytest.raises(GaneditError, match="not a tuning") as caught:
        load_tuning(path)
    assert "\n" not in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(GaneditError, match="is empty"):
        load_tuning(path)
    path.unlink()
    with pytest.raises(GaneditError, match="no such file"):
        load_tuning(path)


def test_a_cut_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(GaneditError, match="not a readable safetensors file"):
        load_tuning(path)


def test_a_small_file_cannot_ask_for_a_large_product(network, path):
    bomb = {f"left.{KEY}": torch.ones(10**6, 1), f"right.{KEY}": torch.ones(1, 10**6)}
    forge(path, tensors=bomb)
    with pytest.raises(GaneditError, match=r"expected shape \[8, 8, 3, 3\], got \[1000000, "):
        apply_tuning(network, load_tuning(path))


def test_factors_that_overflow_are_refused(network, path):
    huge = {f"left.{KEY}": torch.full((8, 1), 1e30), f"right.{KEY}": torch.full((1, 72), 1e30)}
    forge(path, tensors=huge)
    with pytest.raises(GaneditError, match="not finite"):
        apply_tuning(network, load_tuning(path))


def test_a_file_that_is_too_large_is_refused(path, monkeypatch):
    monkeypatch.setattr(tuning, "_LARGEST_FILE", 100)
    with pytest.raises(GaneditError, match="too large for a tuning file"):
        load_tuning(path)


def test_a_weight_that_the_generator_lacks_is_refused(network, path):
    forge(path, tensors={"whole.synthesis.b999.bias": torch.ones(8)})
    with pytest.raises(GaneditError, match=r"no weight synthesis\.b999\.bias"):
        apply_tuning(network, load_tuning(path))
