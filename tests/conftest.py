"""Fixtures that many rooms share: the 16-pixel generator, its files, and the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from ganedit.checkpoints import Network, load_network, save_encoder, save_network
from ganedit.cli.app import app
from ganedit.editing import sample
from ganedit.encoders import CompactEncoder
from ganedit.generators import StyleGAN2Generator, TriPlaneGenerator
from ganedit.io import Latent, save_latent

torch.set_num_threads(1)


def make_generator(*, seed: int = 0, w_dim: int = 16, c_dim: int = 0) -> StyleGAN2Generator:
    """A 16-pixel StyleGAN2 whose noise maps and truncation do something."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = StyleGAN2Generator(
            z_dim=16,
            c_dim=c_dim,
            w_dim=w_dim,
            img_resolution=16,
            mapping_layers=2,
            channel_base=128,
            channel_max=8,
        )
        with torch.no_grad():
            for name, parameter in generator.named_parameters():
                if name.endswith("noise_strength"):
                    parameter.fill_(0.3)
            generator.w_avg.copy_(0.3 * torch.randn(w_dim))
    return generator.eval().requires_grad_(False)


SPHERE: dict[str, Any] = {"radius": 2.7, "pivot": (0, 0, 0.2), "focal": 4.2647}
"""Where cameras are around a head, for `ganedit.three_d.orbits`."""


def make_triplane(*, seed: int = 0, **changes: Any) -> TriPlaneGenerator:
    """A 16-pixel tri-plane generator, 8 rays along a side."""
    settings: dict[str, Any] = {
        "z_dim": 16,
        "w_dim": 16,
        "img_resolution": 16,
        "channel_base": 128,
        "channel_max": 8,
        "plane_resolution": 16,
        "plane_channels": 4,
        "decoder_features": 8,
        "neural_resolution": 8,
        "coarse_samples": 6,
        "fine_samples": 6,
        "sr_channels": [8, 4],
        "sr_resolution": 8,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = TriPlaneGenerator(**(settings | changes))
        with torch.no_grad():
            for name, parameter in generator.named_parameters():
                if name.endswith("noise_strength"):
                    parameter.fill_(0.3)
            generator.w_avg.copy_(0.3 * torch.randn(generator.w_dim))
    return generator.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def triplane_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a tiny tri-plane generator."""
    path = tmp_path_factory.mktemp("networks") / "volume.safetensors"
    save_network(path, make_triplane(), provenance={"made by": "tests/conftest.py"})
    return path


@pytest.fixture(scope="session")
def generator() -> StyleGAN2Generator:
    return make_generator()


@pytest.fixture(scope="session")
def network_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("networks") / "tiny.safetensors"
    save_network(path, make_generator(), provenance={"made by": "tests/conftest.py"})
    return path


@pytest.fixture(scope="session")
def other_network_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the same shape with other weights."""
    path = tmp_path_factory.mktemp("networks") / "other.safetensors"
    save_network(path, make_generator(seed=1), provenance={})
    return path


@pytest.fixture(scope="session")
def wide_network_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with longer latents."""
    path = tmp_path_factory.mktemp("networks") / "wide.safetensors"
    save_network(path, make_generator(w_dim=24), provenance={})
    return path


@pytest.fixture(scope="session")
def class_network_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with three classes."""
    path = tmp_path_factory.mktemp("networks") / "classes.safetensors"
    save_network(path, make_generator(c_dim=3), provenance={})
    return path


@pytest.fixture(scope="session")
def network(network_path: Path) -> Network:
    return load_network(network_path, device="cpu")


@pytest.fixture(scope="session")
def encoder() -> CompactEncoder:
    """An encoder with random weights for the tiny network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = CompactEncoder(num_ws=6, w_dim=16, resolution=16, widths=(8, 16, 16), hidden=24)
    return encoder.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def encoder_path(
    tmp_path_factory: pytest.TempPathFactory, encoder: CompactEncoder, network: Network
) -> Path:
    path = tmp_path_factory.mktemp("networks") / "encoder.safetensors"
    average = network.generator.w_avg[None]
    save_encoder(path, encoder, average=average, fingerprint=network.fingerprint, provenance={})
    return path


@pytest.fixture
def latents(network: Network) -> list[Latent]:
    """Three latents of the tiny network, one row each."""
    return [sample(network, [seed]) for seed in (1, 2, 3)]


@pytest.fixture
def latent_paths(latents: list[Latent], tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.pt" for name in "abc"]
    for path, latent in zip(paths, latents, strict=True):
        save_latent(path, latent)
    return paths


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in an empty folder; the result has exit_code, stdout and stderr."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")

    def invoke(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def fails(run: Run) -> Callable[..., str]:
    """Run a command line that must fail with one line on stderr; returns the line."""

    def invoke(*arguments: object, code: int = 1) -> str:
        result = run(*arguments)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("error: ")
        assert "Traceback" not in result.stderr
        return lines[0]

    return invoke
