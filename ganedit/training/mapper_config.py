"""Everything that decides the training of a mapper, in one frozen dataclass."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganedit.encoders import LEVELS
from ganedit.errors import GaneditError
from ganedit.training.options import Range, check_ranges, recipe_changes, recipe_of

# Fields that may change when a run is continued: they do not change what a step computes.
_NOT_IN_RECIPE = frozenset({"out", "latents", "identity_weights", "device", "state_kimg"})


@dataclass(frozen=True, kw_only=True)
class MapperTrainingConfig:
    """Options of the training of a latent mapper.

    Time is counted in latents seen; 1 kimg is 1,000 of them.

    Attributes:
        prompts: What pictures should show, as typed: words, and perhaps ``:`` and a weight.
        out: The `.safetensors` file to write; the state to resume from lies beside it.
        network: Generator: an embedded name, a file or an address.
        clip: CLIP that reads the prompts.
        clip_preprocess: How it sees pictures; see `Clip`.
        neutral: What pictures show now, in words: how far they go from it towards the prompts
            counts, not how near the prompts they are. None for StyleCLIP's own loss.
        latents: A file of latents to train on; None samples the generator.
        samples: Of the generator, half of them with two latents in different layers.
        spread: Each is moved away from the mapped latents, layer by layer, by up to so many
            standard deviations, as far as photos are projected; 0 leaves them.
        kind: ``levels`` trains a perceptron a level, ``single`` one for all layers.
        coarse: Whether layers 0 to 3 change.
        medium: Whether layers 4 to 7 change.
        fine: Whether the layers from 8 on change.
        kimg: Length of the training in thousands of latents.
        batch: Latents a step.
        seed: Of the weights and of every step.
        learning_rate: Adam's after warming up; the mapper's layers divide it by 100.
        clip_weight: Weight of what the prompts' score lacks, in standard deviations over the
            samples.
        identity: Who a face is: ``clay`` reads it off clay heads, ``arcface`` off people, ``none``
            leaves it out.
        identity_weight: Weight of its loss.
        latent_weight: Weight of the squared change of the latents, in standard deviations along
            each way in which w varies, mean over layers.
        dtype: Inside the generator and the CLIP.
        identity_weights: ArcFace's file; None looks in torch's cache.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.
        state_kimg: kimg from one state on disk to the next.
    """

    prompts: tuple[str, ...]
    out: Path
    network: str = "clay"
    clip: str = "clay-clip"
    clip_preprocess: Literal["model", "reference"] = "model"
    neutral: str | None = None
    latents: Path | None = None
    samples: int = 512
    spread: float = 1.6
    kind: Literal["levels", "single"] = "levels"
    coarse: bool = True
    medium: bool = True
    fine: bool = True
    kimg: float = 3.2
    batch: int = 8
    seed: int = 0
    learning_rate: float = 2.0
    clip_weight: float = 2.0
    identity: Literal["clay", "arcface", "none"] = "clay"
    identity_weight: float = 0.5
    latent_weight: float = 0.004
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    identity_weights: Path | None = None
    device: str = "auto"
    state_kimg: float = 0.8

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return max(1, round(self.kimg * 1000 / self.batch))

    @property
    def state_path(self) -> Path:
        """Where the state to resume from lies until the training is done."""
        return self.out.with_suffix(".state.pt")

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that change, as `LevelsMapper` takes them."""
        return tuple(level for level in LEVELS if getattr(self, level))

    def validate(self) -> None:
        """Check every number once.

        Raises:
            GaneditError: A value is out of range; the message names the flag.
        """
        check_ranges(self, _RANGES, _RENAMED)
        if not self.prompts:
            raise GaneditError("give at least one --prompt")
        if not self.levels:
            raise GaneditError("no layers are left to change; leave out one of --no-coarse,"
                               " --no-medium and --no-fine")  # fmt: skip
        if self.kind == "single" and self.levels != LEVELS:
            raise GaneditError(
                "--kind single has no levels; leave out --no-coarse, --no-medium and --no-fine"
            )
        if self.identity_weights is not None and self.identity != "arcface":
            raise GaneditError("--identity-weights is for --identity arcface; add it")

    def recipe(self) -> dict[str, Any]:
        """Return the options that decide what a step computes, JSON-able and without paths."""
        return recipe_of(self, without=_NOT_IN_RECIPE)

    def differences(self, recipe: dict[str, Any]) -> list[str]:
        """Return the flags whose value in another `recipe` trains differently."""
        return recipe_changes(self.recipe(), recipe, _RENAMED)


# Smallest and largest value of each number, both allowed.
_RANGES: tuple[Range, ...] = (
    ("kimg", 0.001, 1e6),
    ("batch", 1, 4096),
    ("samples", 16, 100_000),
    ("spread", 0, 10),
    ("seed", 0, 2**32 - 1),
    ("learning_rate", 1e-9, 1e3),
    ("clip_weight", 0, 1e6),
    ("identity_weight", 0, 1e6),
    ("latent_weight", 0, 1e6),
    ("state_kimg", 0.001, 1e6),
)

_RENAMED = {"learning_rate": "--lr", "prompts": "--prompt"}
