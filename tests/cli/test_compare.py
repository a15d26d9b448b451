import json
import shutil
from pathlib import Path

import pytest
import torch

from ganedit.data.clayheads import render, sample_factors
from ganedit.io import write_image
from ganedit.metrics import psnr


@pytest.fixture(autouse=True)
def no_vgg(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


@pytest.fixture
def heads(tmp_path):
    folder = tmp_path / "heads"
    images = render(sample_factors([1, 2])).image
    for index, image in enumerate(images):
        write_image(folder / f"{index}.png", image[None])
    return folder


def test_two_pictures(run, heads):
    result = run("compare", heads / "0.png", heads / "1.png", "--clay", "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    (figures,) = content["pictures"]
    images = render(sample_factors([1, 2])).image
    assert figures["psnr"] == pytest.approx(float(psnr(images[:1], images[1:])), abs=0.05)
    assert 0 < figures["ssim"] < 1
    assert figures["lpips"] is None
    assert figures["clay"] > 0.3
    assert set(figures["factors"]) >= {"skin_tone", "jaw"}
    table = run("compare", heads / "0.png", heads / "1.png", "--device", "cpu")
    assert table.stdout == ""
    assert "SSIM" in table.stderr
    assert "LPIPS" not in table.stderr


def test_folders_by_name(run, fails, heads, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(heads, other)
    write_image(other / "extra.png", torch.zeros(1, 3, 64, 64))
    result = run("compare", heads, other, "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert [one["name"] for one in content["pictures"]] == ["0", "1"]
    assert content["mean"]["psnr"] == 99
    assert content["mean"]["ssim"] == 1
    assert "1 pictures of no other: extra" in result.stderr
    assert "mean" in run("compare", heads, other, "--clay", "--device", "cpu").stderr
    assert "share no picture" in fails("compare", heads, _empty(tmp_path))


def _empty(tmp_path):
    write_image(tmp_path / "third" / "a.png", torch.zeros(1, 3, 8, 8))
    return tmp_path / "third"


def test_what_cannot_be_compared(fails, heads, tmp_path):
    write_image("small.png", torch.zeros(1, 3, 8, 8))
    assert "64x64 and 8x8" in fails("compare", heads / "0.png", "small.png")
    assert "is a folder" in fails("compare", heads, "small.png")
    assert "no such file" in fails("compare", "absent.png", "small.png")
    assert not Path("out").exists()


def test_small_pictures_have_no_ssim(run):
    write_image("small.png", torch.zeros(1, 3, 8, 8))
    result = run("compare", "small.png", "small.png", "--json", "--device", "cpu")
    assert json.loads(result.stdout)["mean"]["ssim"] is None
