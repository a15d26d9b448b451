"""Everything that decides the training of an encoder, in one frozen dataclass."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganedit.errors import GaneditError
from ganedit.training.options import Range, check_ranges, recipe_changes, recipe_of

# Fields that may change when a run is continued: they do not change what a step computes.
_NOT_IN_RECIPE = frozenset(
    {"data", "out", "vgg_weights", "identity_weights", "device", "state_kimg"}
)


@dataclass(frozen=True, kw_only=True)
class EncoderTrainingConfig:
    """Options of an encoder's training.

    Time is counted in pictures seen; 1 kimg is 1,000 of them. Half of a batch are pictures of the
    data, half the generator's own samples, whose latents are known.

    Attributes:
        data: Folder or zip of pictures of the generator's size.
        out: The `.safetensors` file to write; the state to resume from lies beside it.
        network: Generator: an embedded name, a file or an address.
        kind: ``compact`` for small pictures; ``e4e`` and ``psp`` read 256 pixels and find latents
            of 512 numbers.
        kimg: Length of the training in thousands of pictures.
        batch: Pictures a step, an even number.
        mirror: Also show the data's pictures flipped left to right.
        seed: Of the weights and of every step.
        learning_rate: AdamW's after warming up; it falls along half a cosine.
        weight_decay: AdamW's.
        perceptual: Distance between a picture and its reconstruction.
        perceptual_weight: Its weight.
        pixel_weight: Weight of the mean squared pixel difference.
        latent_weight: Weight of the squared error of the latents of the generator's own samples.
        delta_weight: Weight of e4e's delta regularisation: squared offsets from the first latent.
        norm_weight: Weight of pSp's regularisation: squared distance from the average latent.
        identity_weight: Weight of one minus the cosine between ArcFace's embeddings of picture and
            reconstruction; 0 leaves it out.
        discriminator_weight: Weight of e4e's latent discriminator; 0 leaves it out.
        discriminator_learning_rate: Adam's for that discriminator.
        r1_gamma: Weight of its R1 penalty.
        stages_start_kimg: Until then all layers share one latent, later one more gets its own
            offset every ``stage_kimg`` (e4e's progressive training); None trains all at once.
        stage_kimg: See above.
        held_out: Last pictures of the data, which only the figures are measured on.
        dtype: Inside the networks.
        vgg_weights: VGG16's file for ``lpips``; None looks in torch's cache.
        identity_weights: ArcFace's file; None looks in torch's cache.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.
        state_kimg: kimg from one state on disk to the next.
    """

    data: Path
    out: Path
    network: str = "clay"
    kind: Literal["compact", "e4e", "psp"] = "compact"
    kimg: float = 120.0
    batch: int = 16
    mirror: bool = True
    seed: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    perceptual: Literal["clay", "lpips", "pixel"] = "clay"
    perceptual_weight: float = 1.0
    pixel_weight: float = 10.0
    latent_weight: float = 0.1
    delta_weight: float = 0.01
    norm_weight: float = 0.002
    identity_weight: float = 0.0
    discriminator_weight: float = 0.0
    discriminator_learning_rate: float = 2e-5
    r1_gamma: float = 10.0
    stages_start_kimg: float | None = None
    stage_kimg: float = 4.0
    held_out: int = 32
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    vgg_weights: Path | None = None
    identity_weights: Path | None = None
    device: str = "auto"
    state_kimg: float = 4.0

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return max(1, round(self.kimg * 1000 / self.batch))

    @property
    def state_path(self) -> Path:
        """Where the state to resume from lies until the training is done."""
        return self.out.with_suffix(".state.pt")

    def stages(self, step: int, *, num_ws: int) -> int | None:
        """Return the layers that have an offset at ``step``; None for all."""
        if self.stages_start_kimg is None:
            return None
        kimg = step * self.batch / 1000 - self.stages_start_kimg
        return 0 if kimg < 0 else min(1 + int(kimg / self.stage_kimg), num_ws - 1)

    def validate(self) -> None:
        """Check every number once.

        Raises:
            GaneditError: A value is out of range; the message names the flag.
        """
        check_ranges(self, _RANGES, _RENAMED)
        if self.batch % 2:
            raise GaneditError(f"--batch must be even, got {self.batch}")
        if self.identity_weights is not None and not self.identity_weight:
            raise GaneditError("--identity-weights is for --identity-weight; add it")
        if self.kind == "psp" and self.stages_start_kimg is not None:
            raise GaneditError("--stages-start-kimg is for encoders with offsets: compact and e4e")

    def recipe(self) -> dict[str, Any]:
        """Return the options that decide what a step computes, JSON-able and without paths."""
        return recipe_of(self, without=_NOT_IN_RECIPE)

    def differences(self, recipe: dict[str, Any]) -> list[str]:
        """Return the flags whose value in another `recipe` trains differently."""
        return recipe_changes(self.recipe(), recipe, _RENAMED)


# Smallest and largest value of each number, both allowed.
_RANGES: tuple[Range, ...] = (
    ("kimg", 0.001, 1e6),
    ("batch", 2, 4096),
    ("seed", 0, 2**32 - 1),
    ("learning_rate", 1e-9, 1),
    ("weight_decay", 0, 1),
    ("perceptual_weight", 0, 1e6),
    ("pixel_weight", 0, 1e6),
    ("latent_weight", 0, 1e6),
    ("delta_weight", 0, 1e6),
    ("norm_weight", 0, 1e6),
    ("identity_weight", 0, 1e6),
    ("discriminator_weight", 0, 1e6),
    ("discriminator_learning_rate", 1e-9, 1),
    ("r1_gamma", 0, 1e6),
    ("stages_start_kimg", 0, 1e6),
    ("stage_kimg", 0.001, 1e6),
    ("held_out", 1, 10_000),
    ("state_kimg", 0.001, 1e6),
)

_RENAMED = {"learning_rate": "--lr", "discriminator_learning_rate": "--discriminator-lr"}
