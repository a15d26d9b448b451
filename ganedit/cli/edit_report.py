"""What edits did, in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganedit.cli import console
from ganedit.cli.distances import find_lpips

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.cli.edit_results import Edit
    from ganedit.features import ClayFeatures
    from ganedit.features.arcface import ArcFace
    from ganedit.features.clip import Clip
    from ganedit.losses import PerceptualDistance
    from ganedit.losses.clip import TextTarget

_TITLES = {
    "name": "picture",
    "strength": "strength",
    "clip_before": "CLIP before",
    "clip_after": "after",
    "identity": "identity",
    "lpips": "LPIPS",
    "clay": "clay distance",
    "seconds": "seconds",
}
_USUAL = {"strength": 1}  # not worth a column
_WORTH_TELLING = 0.05  # of a factor's range
_MOST_FACTORS = 6  # in the table
_SMALLEST_LPIPS = 16  # pixels a side


@dataclass(frozen=True, eq=False)
class Judges:
    """The networks that say what an edit did; None for those that are not at hand or not meant.

    Attributes:
        clip: Says how well a picture fits the prompts.
        target: The prompts; None when there are none.
        lpips: How different the pictures are.
        arcface: Whether they show one person.
        clay: The same, and what changed, for heads of the clay world.
        place: Where they live.
    """

    clip: "Clip | None"
    target: "TextTarget | None"
    lpips: "PerceptualDistance | None"
    arcface: "ArcFace | None"
    clay: "ClayFeatures | None"
    place: "torch.device"


def open_judges(
    model: "Network",
    clip: "Clip | None",
    target: "TextTarget | None",
    arcface: "ArcFace | None",
) -> Judges:
    """Return what can judge edits of a generator's pictures on this machine."""
    place = model.generator.w_avg.device
    return Judges(clip, target, find_lpips(None, place), arcface, clay_judge(model), place)


def clay_judge(model: "Network") -> "ClayFeatures | None":
    """Return what reads clay heads; None for networks that draw something else."""
    from ganedit.features import load_clay_features
    from ganedit.inversion import default_perceptual

    clay = default_perceptual(model) == "clay"
    return load_clay_features(model.generator.w_avg.device) if clay else None


def judge(judges: Judges, before: "Tensor", after: "Tensor") -> dict[str, Any]:
    """Return the figures of one edit; None for those that cannot be had.

    Args:
        judges: See `open_judges`.
        before: [1, 3, R, R] in [-1, 1].
        after: The same after the edit.

    Returns:
        ``clip_before`` and ``clip_after`` (cosines); ``identity`` (ArcFace's cosine; of clay heads
        one minus the mean error of the factors that make a person, in parts of their ranges);
        ``lpips`` and ``clay`` (distances); of clay heads also ``factors``: how each changed, in
        parts of its range, largest first.
    """
    import torch

    from ganedit.losses.perceptual import clay_distance
    from ganedit.metrics import identity_errors, identity_similarity
    from ganedit.metrics.edits import factor_changes, largest_changes

    first, second = before.to(judges.place), after.to(judges.place)
    figures: dict[str, Any] = dict.fromkeys(("clip_before", "clip_after", "identity", "lpips"))
    with torch.no_grad():
        if judges.clip is not None and judges.target is not None:
            scores = judges.target.score(judges.clip.encode_images(torch.cat([first, second])))
            figures["clip_before"], figures["clip_after"] = scores.tolist()
        if judges.lpips is not None and first.shape[2] >= _SMALLEST_LPIPS:
            figures["lpips"] = float(judges.lpips(first, second))
        if judges.clay is not None:
            errors = identity_errors(judges.clay, second, first).values()
            figures["identity"] = 1 - sum(float(error) for error in errors) / len(errors)
            figures["clay"] = float(clay_distance(judges.clay)(first, second))
        elif judges.arcface is not None:
            figures["identity"] = float(identity_similarity(judges.arcface, second, first))
        rounded = {key: None if x is None else round(x, 4) for key, x in figures.items()}
        if judges.clay is not None:
            (changes,) = factor_changes(judges.clay, first, second)
            moved = largest_changes(changes)
            rounded["factors"] = {name: round(value, 4) for name, value in moved.items()}
    return rounded


def judge_all(
    judges: Judges,
    edit: "Edit",
    before: "Sequence[Tensor]",
    after: "Sequence[Sequence[Tensor]]",
    *,
    seconds: float | None = None,
) -> list[dict[str, Any]]:
    """Return the figures of each head: of the last strength, and ``sweep``, of every one.

    Args:
        judges: See `open_judges`.
        edit: What was done.
        before: Pictures of the heads.
        after: The same at each strength.
        seconds: That finding the edit took, for each head; None where it was known.
    """
    results = []
    with console.progress("Comparing", len(before)) as on_step:
        for index, name in enumerate(edit.heads.names):
            sweep = [
                {"strength": strength, **judge(judges, before[index], row[index])}
                for strength, row in zip(edit.strengths, after, strict=True)
            ]
            figures = {"name": name, **sweep[-1]}
            figures |= {} if seconds is None else {"seconds": round(seconds, 4)}
            results.append(figures | ({"sweep": sweep} if len(sweep) > 1 else {}))
            on_step(index + 1, len(before), {})
    return results


def tell(result: Mapping[str, Any]) -> str:
    """Return the figures of one head in one line."""
    told = [f"strength {result['strength']:g}"]
    if result["clip_after"] is not None:
        told.append(f"CLIP score {result['clip_before']:.3f} → {result['clip_after']:.3f}")
    if result["identity"] is not None:
        told.append(f"identity {result['identity']:.2f}")
    if "factors" in result:
        told.append(f"moved: {describe_factors(result['factors'])}")
    return " · ".join(told)


def describe_factors(factors: Mapping[str, float]) -> str:
    """Return which factors moved in one line, as ``smile +0.90, brows -0.12``."""
    told = [
        f"{name} {value:+.2f}" for name, value in factors.items() if abs(value) >= _WORTH_TELLING
    ]
    more = len(told) - _MOST_FACTORS
    return ", ".join(told[:_MOST_FACTORS]) + (f", {more} more" if more > 0 else "") or "none"


def report(results: Sequence[Mapping[str, Any]]) -> None:
    """Print the figures of edits, and the factors that moved, on stderr."""
    titles = {
        key: title
        for key, title in _TITLES.items()
        if any(result.get(key) not in (None, _USUAL.get(key)) for result in results)
    }
    rows = [[result.get(key) for key in titles] for result in results]
    if len(titles) > 1:  # otherwise nothing at hand could judge these pictures
        console.table("", list(titles.values()), rows)
    moved = [
        [result["name"], describe_factors(result["factors"])]
        for result in results
        if "factors" in result
    ]
    if moved:
        console.table("", ["picture", "factors that moved, in parts of their range"], moved)
