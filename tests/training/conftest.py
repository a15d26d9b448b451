from pathlib import Path

import pytest
import torch

from ganedit.data.archive import clay_factor_names, clay_pictures, write_archive
from ganedit.io.images import write_image
from ganedit.training import TrainingConfig, TrainingResult, train

TINY = {
    "kimg": 0.016,
    "batch": 4,
    "z_dim": 8,
    "w_dim": 8,
    "channel_base": 64,
    "channel_max": 8,
    "r1_interval": 2,
    "pl_interval": 2,
    "tick_kimg": 0.008,
    "snapshot_ticks": 1,
    "grid_columns": 2,
    "grid_rows": 2,
    "dtype": "float32",
    "device": "cpu",
    "threads": 1,
}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten 16-pixel pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    stream = torch.Generator().manual_seed(0)
    for index in range(10):
        image = torch.rand(1, 3, 4, 4, generator=stream) * 2 - 1
        image = image.repeat_interleave(4, 2).repeat_interleave(4, 3)
        write_image(folder / f"{index}.png", image)
    return folder


@pytest.fixture(scope="session")
def whole_run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A tiny training that nothing interrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return train(TrainingConfig(data=pictures, out=out, **TINY))


@pytest.fixture
def tiny(pictures, tmp_path):
    """Make the options of a tiny training; keyword arguments replace some."""

    def make(out="run", **changes):
        return TrainingConfig(data=pictures, out=tmp_path / out, **(TINY | changes))

    return make


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clay heads with their truth."""
    path = tmp_path_factory.mktemp("heads") / "clay.zip"
    pictures = clay_pictures(count=12, seed=0, resolution=64)
    write_archive(path, pictures, factor_names=clay_factor_names())
    return path
