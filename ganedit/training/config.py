"""Everything that decides a training, in one frozen dataclass."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganedit.data.clayheads.factors import FACTOR_INDEX
from ganedit.errors import GaneditError

# Fields that may change when a run is continued: they do not change what a step computes.
_NOT_IN_TRAJECTORY = frozenset(
    {"data", "out", "kimg", "max_minutes", "tick_kimg", "snapshot_ticks", "threads", "init"}
    | {"device", "grid_columns", "grid_rows"}
    | {"keep_latents", "keep_reader"}  # what these files hold counts, and a state tells it
)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Options of a StyleGAN2-ADA training; ``None`` means "from resolution and batch".

    Time is counted in images shown to the discriminator, so that schedules survive another
    batch size; 1 kimg is 1,000 of them.

    Attributes:
        data: Folder or zip of pictures.
        out: Output folder.
        kimg: Length of the training in thousands of images.
        max_minutes: Stop after this many minutes of this process; None is no limit.
        seed: Seed of the weights and of every step.
        batch: Images a step.
        mirror: Also show the pictures flipped left to right.
        conditional: Use the data's labels (classes or cameras).
        z_dim: Width of the input latent.
        w_dim: Width of the intermediate latent.
        mapping_layers: Depth of the mapping network.
        channel_base: Channels of a layer are channel_base / resolution, ...
        channel_max: ... but never more than this.
        mbstd_group: Images a group of the minibatch standard deviation; auto is the largest
            divisor of batch up to 4.
        learning_rate: Of both networks; auto is 0.0025, from 1024 pixels on 0.002.
        beta1: First Adam coefficient, before the correction for lazy regularisation.
        beta2: Second Adam coefficient, before that correction.
        r1_gamma: Weight of the R1 penalty; auto is 0.0002 * resolution ** 2 / batch.
        r1_interval: Steps from one R1 penalty to the next.
        pl_weight: Weight of the path length penalty; 0 turns it off.
        pl_interval: Steps from one path length penalty to the next.
        pl_decay: Rate at which the mean path length follows.
        pl_batch_shrink: The penalty sees batch / this many images.
        style_mixing: Probability that two latents share one picture, 0..1.
        ema_kimg: Half-life of the averaged generator in kimg; auto is batch * 10 / 32.
        ema_rampup: The half-life is at most this fraction of the images seen; 0 is no ramp.
        augment: ``ada`` adapts the probability, ``fixed`` keeps augment_p, ``off`` never augments;
            auto is ``ada``, and ``off`` for volumes.
        augment_p: Probability of each augmentation, 0..1: fixed, or where ada starts.
        ada_target: Mean sign of D(real) that ada steers to, 0..1.
        ada_interval: Steps from one adjustment to the next.
        ada_kimg: kimg in which the probability can travel from 0 to 1; auto is 500, with init 100.
        freeze_d: Discriminator layers that never train, counted from the highest resolution
            (FreezeD as NVlabs counts).
        train_d_blocks: Only this many of the discriminator's last blocks train, besides what
            follows them (FreezeD as Cartoon-StyleGAN counts); 0 is all.
        freeze_g: Only this many of the generator's highest resolutions train (Cartoon-StyleGAN's
            FreezeG), without path lengths; 0 is all.
        freeze_style: Latents, from the first, that the starting network's mapping gives; 0 is none.
        structure_loss: Resolutions, from 8 pixels on, whose features should stay those of the
            starting network; 0 is none.
        structure_weight: Weight of that loss.
        keep_factors: Names of clay factors, joined by commas, that pictures should share with those
            of the starting network (attribute matching); None is none.
        keep_weight: Weight of that loss.
        keep_latents: Latent file of the starting network: these are compared besides those of each
            step; None is none.
        keep_reader: File of the feature network that reads them off both; None is the embedded one,
            which reads clay heads.
        family: ``stylegan2``, or ``triplane``: a volume, from data with cameras (EG3D).
        lift_kimg: kimg in which a volume that starts from a generator of pictures is only shown
            those, before the adversarial training; for clay heads, whose pose is read off them.
        lift_weight: Weight of what those pictures say in the adversarial training after that; 0
            ends the lessons there.
        lift_directions: Directions of that generator, ``yaw`` and ``pitch`` among them; None is the
            embedded ones of ``clay``.
        plane_resolution: Side of the planes; auto is that of the pictures, at most 256.
        plane_channels: Channels of each plane.
        box_size: Side of the box that they span, in world units.
        decoder_features: Width of the decoder's hidden layer.
        neural_resolution: Rays along a side of a picture; auto is a half of the pictures' side, and
            a quarter from 512 pixels on. A half or a quarter of the side, or the side.
        neural_start: Where that begins; None is no schedule.
        neural_kimg: kimg in which it grows to ``neural_resolution``.
        ray_start: Depth of the first sample of a ray, in world units.
        ray_end: Depth of the last one.
        coarse_samples: Samples of a ray in the first pass.
        fine_samples: In the second.
        white_back: Whether what no sample stopped is white.
        swap_probability: How often the mapping network is told another camera, at last.
        swap_kimg: kimg in which that falls from always.
        density_weight: Weight of the density penalty; 0 turns it off.
        density_interval: Steps from one to the next.
        density_distance: Standard deviation of the ways that it looks along, in world units.
        fog_weight: Weight of the mean variance of depth along rays, in square world units, which
            makes surfaces of fog; 0 is EG3D.
        blur_sigma: Blur of the pictures that the discriminator sees at the beginning, in pixels.
        blur_kimg: kimg in which it fades.
        init: Network to start the weights from (transfer learning): an embedded name, a file, an
            address.
        dtype: Inside the networks; ``auto`` measures which of the two this machine runs faster.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.
        threads: CPU threads; None leaves torch's choice.
        tick_kimg: kimg from one line of statistics to the next.
        snapshot_ticks: Ticks from one snapshot to the next.
        grid_columns: Columns of the sample grids.
        grid_rows: Rows of the sample grids.
    """

    data: Path
    out: Path
    kimg: float = 25_000.0
    max_minutes: float | None = None
    seed: int = 0
    batch: int = 16
    mirror: bool = False
    conditional: bool = False
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 2
    channel_base: int = 16384
    channel_max: int = 512
    mbstd_group: int | None = None
    learning_rate: float | None = None
    beta1: float = 0.0
    beta2: float = 0.99
    r1_gamma: float | None = None
    r1_interval: int = 16
    pl_weight: float = 2.0
    pl_interval: int = 4
    pl_decay: float = 0.01
    pl_batch_shrink: int = 2
    style_mixing: float = 0.9
    ema_kimg: float | None = None
    ema_rampup: float = 0.05
    augment: Literal["ada", "fixed", "off"] | None = None
    augment_p: float = 0.0
    ada_target: float = 0.6
    ada_interval: int = 4
    ada_kimg: float | None = None
    freeze_d: int = 0
    train_d_blocks: int = 0
    freeze_g: int = 0
    freeze_style: int = 0
    structure_loss: int = 0
    structure_weight: float = 1.0
    keep_factors: str | None = None
    keep_weight: float = 10.0
    keep_latents: Path | None = None
    keep_reader: Path | None = None
    family: Literal["stylegan2", "triplane"] = "stylegan2"
    lift_kimg: float = 0.0
    lift_weight: float = 0.0
    lift_directions: Path | None = None
    plane_resolution: int | None = None
    plane_channels: int = 32
    box_size: float = 1.0
    decoder_features: int = 64
    neural_resolution: int | None = None
    neural_start: int | None = None
    neural_kimg: float = 1000.0
    ray_start: float = 2.25
    ray_end: float = 3.3
    coarse_samples: int = 48
    fine_samples: int = 48
    white_back: bool = False
    swap_probability: float = 0.5
    swap_kimg: float = 1000.0
    density_weight: float = 0.25
    density_interval: int = 4
    density_distance: float = 0.004
    fog_weight: float = 0.0
    blur_sigma: float = 0.0
    blur_kimg: float = 200.0
    init: Path | str | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    threads: int | None = None
    tick_kimg: float = 4.0
    snapshot_ticks: int = 10
    grid_columns: int = 8
    grid_rows: int = 5

    def resolved(self, resolution: int) -> "TrainingConfig":
        """Return a copy with every automatic number filled in for images of ``resolution``."""
        volume = self.family == "triplane"
        return dataclasses.replace(
            self,
            mbstd_group=_or(self.mbstd_group, _largest_group(self.batch)),
            augment=_or(self.augment, "off" if volume else "ada"),
            learning_rate=_or(self.learning_rate, 0.002 if resolution >= 1024 else 0.0025),
            r1_gamma=_or(self.r1_gamma, 0.0002 * resolution**2 / self.batch),
            ema_kimg=_or(self.ema_kimg, self.batch * 10 / 32),
            ada_kimg=_or(self.ada_kimg, 500.0 if self.init is None else 100.0),
            pl_weight=0.0 if self.freeze_g or volume else self.pl_weight,
            plane_resolution=_or(self.plane_resolution, min(resolution, 256)),
            neural_resolution=_or(
                self.neural_resolution, resolution // (4 if resolution >= 512 else 2)
            ),
        )

    def validate(self) -> None:
        """Check every number once.

        Raises:
            GaneditError: A value is out of range; the message names the flag.
        """
        for name, low, high in RANGES:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise GaneditError(f"{flag(name)} must be {_wanted(low, high)}, got {value}")
        if self.mbstd_group is not None and self.batch % self.mbstd_group:
            raise GaneditError(
                f"--mbstd-group must divide --batch {self.batch}, got {self.mbstd_group}"
            )
        if self.augment not in (None, "ada", "fixed", "off"):
            raise GaneditError(f"--augment must be ada, fixed or off, got {self.augment}")
        if self.dtype not in ("auto", "float32", "bfloat16"):
            raise GaneditError(f"--dtype must be auto, float32 or bfloat16, got {self.dtype}")
        if self.freeze_d and self.train_d_blocks:
            raise GaneditError(
                "--freeze-d and --train-d-blocks both say what of the discriminator trains; give"
                " one of them"
            )
        self._check_keeping()
        self._check_family()

    def _check_family(self) -> None:
        if self.family not in ("stylegan2", "triplane"):
            raise GaneditError(f"--family must be stylegan2 or triplane, got {self.family!r:.40}")
        if self.family == "stylegan2":
            changed = [name for name in OF_TRIPLANES if getattr(self, name) != _DEFAULTS[name]]
            if changed:
                raise GaneditError(f"{flag(changed[0])} is for --family triplane; add that")
            return
        if self.augment not in (None, "off"):
            raise GaneditError(
                f"--augment {self.augment} moves pictures away from what their cameras say; leave"
                " it out for --family triplane"
            )
        keeping = [name for name in self.keeping if name not in ("--freeze-d", "--train-d-blocks")]
        if keeping:
            raise GaneditError(f"{keeping[0]} is not for --family triplane; leave it out")
        if not self.ray_start < self.ray_end:
            raise GaneditError(
                f"--ray-end must be more than --ray-start {self.ray_start:g}, got {self.ray_end:g}"
            )

    def _check_keeping(self) -> None:
        for name in () if self.keep_factors is None else self.keep_factors.split(","):
            if name not in FACTOR_INDEX:
                raise GaneditError(
                    f"--keep-factors: there is no factor {name!r:.40}; there are"
                    f" {', '.join(FACTOR_INDEX)}"
                )
        for name, needed in _ONLY_WITH.items():
            if getattr(self, name) != _DEFAULTS[name] and not getattr(self, needed):
                wanted = "--resume NETWORK" if needed == "init" else flag(needed)
                raise GaneditError(
                    f"{flag(name)} is for {wanted}; add that, or leave {flag(name)} out"
                )

    @property
    def keeping(self) -> list[str]:
        """Flags of the options that keep something of the starting network."""
        discriminator = ("freeze_d", "train_d_blocks")
        generator = ("freeze_g", "freeze_style", "structure_loss", "keep_factors")
        return [flag(name) for name in discriminator + generator if getattr(self, name)]

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain JSON values."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(self).items()
        }

    def differences(self, options: dict[str, Any]) -> list[str]:
        """Return the flags whose value in ``options`` (from `to_json`) trains differently.

        What an older run's options lack had its default.
        """
        mine = self.to_json()
        then = _DEFAULTS | options
        return [
            f"{flag(name)} {then[name]!r} is now {value!r}"
            for name, value in mine.items()
            if name not in _NOT_IN_TRAJECTORY and then[name] != value
        ]

    def __str__(self) -> str:
        """Return the options as indented JSON."""
        return json.dumps(self.to_json(), indent=2)


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainingConfig)}

# Options that say how another one works.
_ONLY_WITH = {
    "structure_weight": "structure_loss",
    "keep_weight": "keep_factors",
    "keep_latents": "keep_factors",
    "keep_reader": "keep_factors",
    "lift_kimg": "init",
    "lift_weight": "lift_kimg",
    "lift_directions": "lift_kimg",
    "neural_kimg": "neural_start",
    "blur_kimg": "blur_sigma",
}

OF_VOLUMES = (
    "plane_resolution",
    "plane_channels",
    "box_size",
    "decoder_features",
    "neural_resolution",
    "ray_start",
    "ray_end",
    "coarse_samples",
    "fine_samples",
    "white_back",
)
"""Fields that are sizes of a tri-plane generator, by the generator's own names."""

OF_TRIPLANES = (
    *OF_VOLUMES,
    "lift_kimg",
    "lift_weight",
    "lift_directions",
    "neural_start",
    "neural_kimg",
    "swap_probability",
    "swap_kimg",
    "density_weight",
    "density_interval",
    "density_distance",
    "fog_weight",
    "blur_sigma",
    "blur_kimg",
)
"""Fields that only tri-plane trainings have."""

# Smallest and largest value of each number, both allowed.
RANGES: tuple[tuple[str, float, float], ...] = (
    ("kimg", 0, math.inf),
    ("max_minutes", 0, math.inf),
    ("seed", 0, 2**32 - 1),
    ("batch", 1, 4096),
    ("z_dim", 1, 4096),
    ("w_dim", 1, 4096),
    ("mapping_layers", 1, 32),
    ("channel_base", 16, 1 << 20),
    ("channel_max", 1, 4096),
    ("mbstd_group", 1, 4096),
    ("learning_rate", 1e-9, 1),
    ("beta1", 0, 0.9999),
    ("beta2", 0, 0.999999),
    ("r1_gamma", 0, 1e6),
    ("r1_interval", 1, 1 << 20),
    ("pl_weight", 0, 1e6),
    ("pl_interval", 1, 1 << 20),
    ("pl_decay", 0, 1),
    ("pl_batch_shrink", 1, 4096),
    ("style_mixing", 0, 1),
    ("ema_kimg", 0, math.inf),
    ("ema_rampup", 0, 1),
    ("augment_p", 0, 1),
    ("ada_target", 0, 1),
    ("ada_interval", 1, 1 << 20),
    ("ada_kimg", 1e-3, math.inf),
    ("freeze_d", 0, 100),
    ("train_d_blocks", 0, 100),
    ("freeze_g", 0, 100),
    ("freeze_style", 0, 100),
    ("structure_loss", 0, 100),
    ("structure_weight", 0, 1e6),
    ("keep_weight", 0, 1e6),
    ("lift_kimg", 0, math.inf),
    ("lift_weight", 0, 1e6),
    ("plane_resolution", 8, 1 << 12),
    ("plane_channels", 3, 1024),
    ("box_size", 1e-3, 1e6),
    ("decoder_features", 1, 4096),
    ("neural_resolution", 1, 1 << 12),
    ("neural_start", 1, 1 << 12),
    ("neural_kimg", 0, math.inf),
    ("ray_start", 0, 1e6),
    ("ray_end", 0, 1e6),
    ("coarse_samples", 4, 1024),
    ("fine_samples", 0, 1024),
    ("swap_probability", 0, 1),
    ("swap_kimg", 0, math.inf),
    ("density_weight", 0, 1e6),
    ("density_interval", 1, 1 << 20),
    ("density_distance", 0, 1e6),
    ("fog_weight", 0, 1e6),
    ("blur_sigma", 0, 1e3),
    ("blur_kimg", 0, math.inf),
    ("threads", 1, 1024),
    ("tick_kimg", 1e-3, math.inf),
    ("snapshot_ticks", 1, 1 << 20),
    ("grid_columns", 1, 64),
    ("grid_rows", 1, 64),
)

_FLAGS = {
    "conditional": "--cond",
    "learning_rate": "--lr",
    "r1_gamma": "--gamma",
    "ada_target": "--target",
    "mapping_layers": "--map-layers",
    "tick_kimg": "--tick",
    "snapshot_ticks": "--snap",
    "grid_columns": "--grid",
    "grid_rows": "--grid",
}


def flag(name: str) -> str:
    """Return the command line flag of a field."""
    return _FLAGS.get(name, "--" + name.replace("_", "-"))


def field_of(option: str) -> str:
    """Return the field behind a command line option, given as Python spells it (``map_layers``)."""
    fields = {
        spelled.removeprefix("--").replace("-", "_"): name for name, spelled in _FLAGS.items()
    }
    return fields.get(option, option)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _largest_group(batch: int) -> int:
    return next(size for size in (4, 3, 2, 1) if batch % size == 0)


def _wanted(low: float, high: float) -> str:
    return f"at least {low:g}" if math.isinf(high) else f"{low:g} to {high:.10g}"
