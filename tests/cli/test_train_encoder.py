from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import load_encoder
from ganedit.io import write_image


@pytest.fixture
def options(network_path, tmp_path, generator):
    z = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))
    for index, image in enumerate(generator.synthesize(generator.map(z)).clamp(-1, 1)):
        write_image(tmp_path / "data" / f"{index}.png", image[None])
    options = ("--data", tmp_path / "data", "--network", network_path, "--loss", "pixel")
    return (*options, "--kimg", "0.008", "--batch", "4", "--device", "cpu", "--dtype", "float32")


def test_an_encoder_is_trained_and_used(run, options, network, network_path, tmp_path):
    result = run("train-encoder", *options, "--out", "new/e.safetensors")
    assert result.exit_code == 0, result.output
    assert result.stdout == "new/e.safetensors\n"
    assert "psnr" in result.stderr
    assert [path.name for path in Path("new").iterdir()] == ["e.safetensors"]
    assert load_encoder("new/e.safetensors", device="cpu").fingerprint == network.fingerprint
    photo = tmp_path / "data" / "0.png"
    fitting = ("--network", network_path, "--encoder", "new/e.safetensors", "--device", "cpu")
    assert run("encode", photo, *fitting).exit_code == 0
    # The same command again replaces its own result.
    assert run("train-encoder", *options, "--out", "new/e.safetensors").exit_code == 0


def test_mistakes_are_one_line(fails, options):
    Path("mine.safetensors").write_text("mine")
    assert "--overwrite" in fails("train-encoder", *options, "--out", "mine.safetensors")
    out = ("--out", "e.safetensors")
    assert "--batch must be even" in fails("train-encoder", *options, *out, "--batch", "3", code=2)
    assert "--lr" in fails("train-encoder", *options, *out, "--lr", "nan", code=2)
    line = fails("train-encoder", *options, *out, "--identity-weights", "a.pth", code=2)
    assert "--identity-weights is for --identity-weight" in line
    line = fails(
        "train-encoder", *options, *out, "--identity-weight", "1", "--identity-weights", "a"
    )
    assert "a: not a file of plain tensors (no such file" in line
    assert "finds 512" in fails("train-encoder", *options, *out, "--kind", "psp")


def test_an_interruption_is_told(run, options, monkeypatch):
    from contextlib import contextmanager

    @contextmanager
    def interrupted():
        yield lambda: True

    monkeypatch.setattr("ganedit.training.resuming.interruptible", interrupted)
    result = run("train-encoder", *options, "--out", "e.safetensors")
    assert result.exit_code == 130
    assert result.stdout == ""
    assert "saved at step 1; the same command goes on" in result.stderr
    assert [path.name for path in Path().iterdir()] == ["e.state.pt"]
