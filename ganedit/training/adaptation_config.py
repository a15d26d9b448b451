"""Everything that decides how a generator moves to another domain, in one frozen dataclass."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganedit.errors import GaneditError
from ganedit.training.options import Range, check_ranges, recipe_changes, recipe_of

# Fields that may change when a run is continued: they do not change what a step computes. The
# network and the pictures are known by what they hold instead.
_NOT_IN_RECIPE = frozenset({"out", "network", "target_images", "device", "state_steps"})

_LARGE_PICTURE = 256  # pixels; beyond that two of them fill a small graphics card
_SMALL_BATCH, _LARGE_BATCH = 2, 4


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig:
    """Options of a text-driven domain adaptation (StyleGAN-NADA, Gal et al. 2022).

    Attributes:
        out: The `.safetensors` file to write; the state to resume from lies beside it.
        network: Generator that is adapted: an embedded name, a file or an address.
        source: What its pictures show, in words.
        target: What they are to show.
        target_images: In place of both: folder or zip of pictures of the other domain.
        clips: Names of the CLIPs; their losses are averaged.
        steps: Length of the training.
        batch: Pictures a step; None takes 4, and 2 beyond 256 pixels.
        learning_rate: Adam's.
        adaptive: Train only the layers that matter most for the target, chosen anew as the training
            goes on; otherwise all of them.
        adaptive_layers: How many; None takes two thirds.
        truncation_psi: Of the latents that it trains on: 1 is all of the generator's world.
        seed: Of every step.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.
        state_steps: Steps from one state on disk to the next.
    """

    out: Path
    network: str = "clay"
    source: str | None = None
    target: str | None = None
    target_images: Path | None = None
    clips: tuple[str, ...] = ("clay-clip",)
    steps: int = 300
    batch: int | None = None
    learning_rate: float = 0.0016
    adaptive: bool = True
    adaptive_layers: int | None = None
    truncation_psi: float = 1.0
    seed: int = 0
    device: str = "auto"
    state_steps: int = 50

    @property
    def prompts(self) -> tuple[str, ...]:
        """The texts; none where pictures take their place."""
        return tuple(text for text in (self.source, self.target) if text is not None)

    @property
    def state_path(self) -> Path:
        """Where the state to resume from lies until the training is done."""
        return self.out.with_suffix(".state.pt")

    @property
    def preview_path(self) -> Path:
        """Where pictures of before and after are put."""
        return self.out.with_suffix(".png")

    def batch_for(self, resolution: int) -> int:
        """Return the pictures a step for a generator's resolution."""
        return self.batch or (_LARGE_BATCH if resolution <= _LARGE_PICTURE else _SMALL_BATCH)

    def validate(self) -> None:
        """Check every option once.

        Raises:
            GaneditError: A value is out of range or does not go with another; the message names the
                flag.
        """
        check_ranges(self, _RANGES, _RENAMED)
        if self.adaptive_layers is not None and not self.adaptive:
            raise GaneditError("--adaptive-layers is for --adaptive; leave out one of them")
        if self.target_images is not None:
            if self.source is not None or self.target is not None:
                raise GaneditError(
                    "--target-images takes the place of --source and --target; leave them out"
                )
            return
        for name in ("source", "target"):
            if not (getattr(self, name) or "").strip():
                raise GaneditError(
                    f"--{name} is missing; say what the pictures"
                    f" {'show now' if name == 'source' else 'are to show'}"
                )
        assert self.source is not None
        assert self.target is not None
        if self.source.split() == self.target.split():
            raise GaneditError(
                f"--source and --target both say {self.source[:40]!r}, which is no direction to go;"
                " change one of them"
            )

    def recipe(self) -> dict[str, Any]:
        """Return the options that decide what a step computes, JSON-able and without paths."""
        return recipe_of(self, without=_NOT_IN_RECIPE)

    def differences(self, recipe: dict[str, Any]) -> list[str]:
        """Return the flags whose value in another `recipe` trains differently."""
        return recipe_changes(self.recipe(), recipe, _RENAMED)


# Smallest and largest value of each number, both allowed.
_RANGES: tuple[Range, ...] = (
    ("steps", 1, 1_000_000),
    ("batch", 1, 4096),
    ("learning_rate", 1e-9, 1),
    ("adaptive_layers", 1, 1000),
    ("truncation_psi", 0, 2),
    ("seed", 0, 2**32 - 1),
    ("state_steps", 1, 1_000_000),
)

_RENAMED = {"learning_rate": "--lr", "truncation_psi": "--trunc", "clips": "--clip"}
