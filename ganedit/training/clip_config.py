"""Everything that decides the training of the clay world's CLIP, in one frozen dataclass."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganedit.training.options import Range, check_ranges, recipe_changes, recipe_of

# Fields that may change when a run is continued: they do not change what a step computes.
_NOT_IN_RECIPE = frozenset({"data", "out", "device", "state_kimg"})


@dataclass(frozen=True, kw_only=True)
class ClipTrainingConfig:
    """Options of the training of a small CLIP on clay heads.

    Time is counted in pictures seen; 1 kimg is 1,000 of them.

    Attributes:
        data: Archive made by ``ganedit dataset clay``.
        out: The `.safetensors` file to write; the state to resume from lies beside it.
        kimg: Length of the training in thousands of pictures.
        batch: Pictures a step.
        captions: Captions a picture; each is compared with every picture of the batch.
        claims_weight: Weight of reading off a picture's direction all that can be said of it; small
            things, such as a smile, are then found much sooner. 0 leaves it out.
        seed: Of the weights and of every step.
        learning_rate: AdamW's after warming up; it falls along half a cosine.
        weight_decay: AdamW's, for matrices and kernels.
        dtype: Inside the networks.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.
        state_kimg: kimg from one state on disk to the next.
    """

    data: Path
    out: Path
    kimg: float = 240.0
    batch: int = 64
    captions: int = 3
    claims_weight: float = 3.0
    seed: int = 0
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    device: str = "auto"
    state_kimg: float = 8.0

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return max(1, round(self.kimg * 1000 / self.batch))

    @property
    def state_path(self) -> Path:
        """Where the state to resume from lies until the training is done."""
        return self.out.with_suffix(".state.pt")

    def validate(self) -> None:
        """Check every number once.

        Raises:
            GaneditError: A value is out of range; the message names the flag.
        """
        check_ranges(self, _RANGES, _RENAMED)

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
    ("captions", 1, 16),
    ("claims_weight", 0, 1e6),
    ("seed", 0, 2**32 - 1),
    ("learning_rate", 1e-9, 1),
    ("weight_decay", 0, 1),
    ("state_kimg", 0.001, 1e6),
)

_RENAMED = {"learning_rate": "--lr"}
