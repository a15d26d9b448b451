"""What a training leaves in its folder: networks, sample grids and statistics."""

import json
import resource
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganedit.checkpoints import open_checkpoint, save_network
from ganedit.checkpoints.sources import locate
from ganedit.data.dataset import ImageDataset
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Generator, TriPlaneGenerator
from ganedit.io.files import make_folder, sweep_partials, write_bytes
from ganedit.io.images import image_grid, write_image
from ganedit.runtime import seeded_normal
from ganedit.training.config import OF_TRIPLANES, TrainingConfig
from ganedit.training.state import STATE_FILE, TrainingState, save_state

OPTIONS_FILE = "training_options.json"
BLEND_FILE = "blend.safetensors"  # where a recycled training starts
RECYCLE = "ganedit recycle"
_OF_A_BLEND = ("blended_from", "shares")
STATS_FILE = "stats.jsonl"
METRICS_FILE = "metrics.jsonl"
LOG_FILE = "log.txt"


def claim_folder(out: Path) -> None:
    """Make the output folder, or accept one that a training wrote.

    Raises:
        GaneditError: It holds something else, or cannot be made.
    """
    make_folder(out)
    sweep_partials(out)
    others = {path.name for path in out.iterdir()} - {BLEND_FILE}
    if others and not (out / OPTIONS_FILE).is_file():
        raise GaneditError(f"{out}: holds files of something else; choose another --out")


def write_options(config: TrainingConfig) -> None:
    """Write the options beside the results."""
    write_bytes(config.out / OPTIONS_FILE, f"{config}\n".encode())


def keep_lines_until(path: Path, images: int) -> None:
    """Drop the lines of a `.jsonl` file that a resumed run, now at ``images``, will write again."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["images"] <= images:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # a line that a kill cut short
    write_bytes(path, "".join(kept).encode())


def append_line(path: Path, line: str) -> None:
    """Append one line to a text file.

    Raises:
        GaneditError: The system refused.
    """
    try:
        with path.open("a") as file:
            file.write(line + "\n")
    except OSError as error:
        raise GaneditError(f"{path}: cannot be written ({error.strerror})") from error


def write_reals(config: TrainingConfig, dataset: ImageDataset) -> None:
    """Write ``reals.png``: evenly spread pictures of the data."""
    count = config.grid_columns * config.grid_rows
    chosen = torch.linspace(0, len(dataset) - 1, count).round().long()
    sheet = image_grid(dataset.batch(chosen), columns=config.grid_columns)
    write_image(config.out / "reals.png", sheet)


def write_snapshot(
    config: TrainingConfig,
    state: TrainingState,
    dataset: ImageDataset,
    *,
    origin: Mapping[str, Any],
) -> Path:
    """Write the network, a grid of samples and the state to resume from; returns the network.

    Args:
        config: Resolved options.
        state: What is written.
        dataset: Gives the labels of the samples.
        origin: What `read_origin` found when the training began.
    """
    mark = f"{state.images // 1000:06d}"
    sheet = image_grid(_samples(config, state.averaged, dataset), columns=config.grid_columns)
    write_image(config.out / f"fakes{mark}.png", sheet)
    path = config.out / f"network-snapshot-{mark}.safetensors"
    save_network(
        path,
        state.averaged,
        discriminator=state.discriminator,
        provenance={
            **origin,
            "images": state.images,
            "hours": round(state.seconds / 3600, 2),
        },
    )
    save_state(config.out / STATE_FILE, state, config)
    return path


def read_origin(
    config: TrainingConfig, dataset: ImageDataset, *, adapted_from: Sequence[str]
) -> dict[str, Any]:
    """Return what the provenance of every snapshot says, without this machine's paths.

    A network of the clay world, or fine-tuned from one, says so: its pictures are compared in the
    clay feature space. One that was fine-tuned names what it came from: latents of that are drawn
    by it too.

    Args:
        config: Resolved options.
        dataset: The pictures.
        adapted_from: Fingerprints of the network to start from and of those before it.

    Raises:
        GaneditError: The network to start from cannot be read.
    """
    local = {"data", "out", "init", "threads", "device", "max_minutes"}
    local |= {"keep_reader", "keep_latents", "lift_directions"}
    local |= set() if config.family == "triplane" else set(OF_TRIPLANES)
    options = {name: value for name, value in config.to_json().items() if name not in local}
    origin: Mapping[str, Any] = {}
    if config.init is not None:
        origin = open_checkpoint(locate(str(config.init))).contents.provenance
    # A tuned blend remembers what it was blended from; only the first tuning is its recycling.
    recycled = origin.get("command") == RECYCLE and "images" not in origin
    volume = config.family == "triplane"
    perceptual = "clay" if dataset.has_factors else origin.get("perceptual")
    return {
        "made_by": f"ganedit {version('ganedit')}, torch {torch.__version__}",
        "command": RECYCLE if recycled else "ganedit train",
        "data": config.data.resolve().name,
        "pictures": len(dataset),
        "init": None if config.init is None else Path(config.init).name,
        "options": options,
        **({"adapted_from": list(adapted_from)} if adapted_from else {}),
        **{name: origin[name] for name in _OF_A_BLEND if name in origin},
        **({"perceptual": perceptual} if perceptual else {}),
        **({"labels": dataset.label_kind} if config.conditional and not volume else {}),
    }


def peak_memory_gib() -> float:
    """Return the most memory that this process has held, in GiB; on the GPU if it uses one."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated()) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


@torch.no_grad()
def _samples(
    config: TrainingConfig,
    generator: StyleGAN2Generator | TriPlaneGenerator,
    dataset: ImageDataset,
) -> Tensor:
    """Return pictures of the seeds 0, 1, ..., [N, 3, R, R] on the CPU.

    A volume is seen from a camera of the data.
    """
    device = generator.w_avg.device
    seeds = range(config.grid_columns * config.grid_rows)
    rows = []
    for start in range(0, len(seeds), config.batch):
        part = seeds[start : start + config.batch]
        z = seeded_normal(part, [generator.z_dim], device=device)
        c = None
        if config.conditional:
            assert dataset.labels is not None
            c = dataset.labels[[seed % len(dataset) for seed in part]].to(device)
        if isinstance(generator, TriPlaneGenerator):
            rows.append(generator.synthesize(generator.map(z), camera=c).cpu())
        else:
            rows.append(generator.synthesize(generator.map(z, c)).cpu())
    return torch.cat(rows)
