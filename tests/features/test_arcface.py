from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.features import ir_se
from ganedit.features.arcface import arcface_path, find_arcface
from tests.arcface import SHORT, STAGES, write_arcface


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A network of few units, and an empty cache."""
    monkeypatch.setattr(ir_se, "_STAGES", SHORT)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))


def by_formula(
    images: Tensor, state: Mapping[str, Tensor], stages: Sequence[tuple[int, int]]
) -> Tensor:
    """The embedding of 256-pixel pictures, by functions of the weights."""

    def norm(x: Tensor, key: str) -> Tensor:
        mean, var = state[f"{key}.running_mean"], state[f"{key}.running_var"]
        return F.batch_norm(x, mean, var, state[f"{key}.weight"], state[f"{key}.bias"])

    def conv(x: Tensor, key: str, **settings: int) -> Tensor:
        return F.conv2d(x, state[f"{key}.weight"], **settings)

    def prelu(x: Tensor, key: str) -> Tensor:
        return x.clamp_min(0) + state[f"{key}.weight"][:, None, None] * x.clamp_max(0)

    x = F.adaptive_avg_pool2d(images[:, :, 35:223, 32:220], 112)
    x = prelu(norm(conv(x, "input_layer.0", padding=1), "input_layer.1"), "input_layer.2")
    index = 0
    for _, units in stages:
        for stride in [2] + [1] * (units - 1):
            unit = f"body.{index}"
            shortcut = F.max_pool2d(x, 1, stride)
            if f"{unit}.shortcut_layer.0.weight" in state:
                shortcut = norm(
                    conv(x, f"{unit}.shortcut_layer.0", stride=stride), f"{unit}.shortcut_layer.1"
                )
            x = conv(norm(x, f"{unit}.res_layer.0"), f"{unit}.res_layer.1", padding=1)
            x = prelu(x, f"{unit}.res_layer.2")
            x = norm(
                conv(x, f"{unit}.res_layer.3", padding=1, stride=stride), f"{unit}.res_layer.4"
            )
            gate = conv(F.adaptive_avg_pool2d(x, 1), f"{unit}.res_layer.5.fc1").clamp_min(0)
            x = x * torch.sigmoid(conv(gate, f"{unit}.res_layer.5.fc2")) + shortcut
            index += 1
    x = norm(x, "output_layer.0").reshape(len(x), 512 * 49)
    x = x @ state["output_layer.3.weight"].mT + state["output_layer.3.bias"]
    x = norm(x, "output_layer.4")
    return x / x.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("stages", [SHORT, pytest.param(STAGES, marks=pytest.mark.slow)])
def test_embeddings_equal_the_formula(
    stages: Sequence[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ir_se, "_STAGES", stages)
    state = write_arcface(tmp_path / "a.pth", stages)
    arcface = find_arcface(tmp_path / "a.pth")
    assert arcface is not None
    assert not arcface.training
    assert not any(p.requires_grad for p in arcface.parameters())
    images = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    torch.testing.assert_close(arcface(images), by_formula(images, state, stages))


def test_the_size_of_a_picture_changes_little(tmp_path: Path) -> None:
    write_arcface(tmp_path / "a.pth")
    arcface = find_arcface(tmp_path / "a.pth")
    assert arcface is not None
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    images = F.interpolate(images, size=(256, 256), mode="bilinear")
    large = images.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    torch.testing.assert_close(arcface(large), arcface(images), rtol=0, atol=1e-5)
    small = F.interpolate(images, size=(128, 128), mode="area")
    same, other = (arcface(small) * arcface(images)).sum(dim=1), arcface(images[:1].flip(3))
    assert float(same.min()) > 0.99
    assert float((other * arcface(images[:1])).sum()) < float(same.min())
    with pytest.raises(ValueError, match=r"images: expected \[N, 3, H, H\], got \[1, 3, 16, 8\]"):
        arcface(torch.zeros(1, 3, 16, 8))


def test_without_a_path_the_cache_is_searched() -> None:
    assert find_arcface(None) is None
    arcface_path().parent.mkdir()
    write_arcface(arcface_path())
    assert find_arcface(None) is not None


def test_a_bad_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"

    def message() -> str:
        with pytest.raises(GaneditError) as caught:
            find_arcface(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file" in message()
    state = write_arcface(path)
    del state["body.0.res_layer.5.fc1.weight"]
    torch.save(state, path)
    assert "body.0.res_layer.5.fc1.weight should be [4, 64, 1, 1], is missing" in message()
    state = write_arcface(path)
    torch.save(state | {"output_layer.3.bias": torch.full((512,), torch.inf)}, path)
    assert "output_layer.3.bias holds values that are not finite" in message()
    torch.save([1], path)
    assert "not a dict of tensors" in message()
