"""``ganedit compare``: how alike two pictures are, or the pictures of two folders."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganedit.cli import console
from ganedit.cli.distances import find_lpips
from ganedit.cli.editability import measure_deviation
from ganedit.cli.options import DeviceOption, OptionalNetworkOption
from ganedit.cli.sources import open_latents
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ganedit.features import ClayFeatures
    from ganedit.features.arcface import ArcFace
    from ganedit.losses import PerceptualDistance

_TITLES = {
    "name": "picture",
    "psnr": "PSNR (dB)",
    "mse": "MSE",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "identity": "identity",
    "clay": "clay distance",
    "factor_error": "factor error",
    "deviation_a": "A from average",
    "deviation_b": "B from average",
}
_LATENTS = (".pt", ".npy", ".npz")
_HIGHEST_PSNR = 99.0  # dB; of equal pictures it is infinite, which JSON cannot say
_MOST_NAMES = 5  # in a warning
# Pixels a side below which a figure cannot be had.
_SMALLEST = {"ssim": 11, "lpips": 16, "clay": 8}


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="A picture, a latent, or a folder of pictures.")
    ],
    second: Annotated[
        Path,
        typer.Argument(metavar="B", help="Another, or another folder, with the same names."),
    ],
    clay: Annotated[
        bool,
        typer.Option(
            "--clay",
            help="They show clay heads: also give their own distance, and how far the factors that"
            " make a person are off, as parts of their ranges.",
        ),
    ] = False,
    vgg_weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="torchvision's VGG16 weights, for LPIPS; by default torch's cache."
        ),
    ] = None,
    identity_weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="ArcFace's weights, model_ir_se50.pth, for the identity of aligned faces; by"
            " default torch's cache.",
        ),
    ] = None,
    network: OptionalNetworkOption = None,
    device: DeviceOption = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON on stdout, not as a table.")
    ] = False,
) -> None:
    """Compare two pictures, or all pictures that two folders share, in numbers.

    PSNR, mean squared error (of values in [-1, 1]), SSIM, LPIPS and identity where their weights
    are at hand, and how far latents are from the average. Of two sizes, the larger picture is
    cropped to its central square and reduced.

    Example: ganedit compare examples/photo.jpg examples/photo-2.jpg --clay
    """
    pairs = _pairs(first, second)

    from ganedit.runtime import resolve_device

    judges = _load_judges(resolve_device(device), vgg_weights, identity_weights, clay=clay)
    results: list[dict[str, Any]] = []
    failed: list[str] = []
    with console.progress("Comparing", len(pairs)) as show:
        for done, pair in enumerate(pairs, start=1):
            try:
                a, b = (_read(place, network=network, device=device) for place in pair.places)
                results.append({"name": pair.name, **_figures(pair, a, b, judges)})
            except GaneditError as error:
                failed.append(str(error))
            show(done, len(pairs), {})
    if results:
        _note_sizes(results)
        means = _means(results)
        if as_json:
            console.emit_json({"pictures": results, "mean": means, "failed": failed})
        else:
            _report(results, means)
    _tell_failures(failed, len(pairs))


@dataclass(frozen=True)
class _Place:
    """Where a picture is: its folder, as the user named it, and its path inside."""

    folder: Path
    inside: str

    @property
    def path(self) -> Path:
        return self.folder / self.inside


@dataclass(frozen=True)
class _Pair:
    """Two pictures to compare."""

    name: str
    places: tuple[_Place, _Place]


@dataclass(frozen=True, eq=False)
class _Picture:
    """A picture, [1, 3, H, W] in [-1, 1], and what is known of the latent that it came from."""

    image: "Tensor"
    facts: Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class _Judges:
    """The networks that compare; None for those that are not at hand or not asked for."""

    device: "torch.device"
    lpips: "PerceptualDistance | None"
    arcface: "ArcFace | None"
    clay: "ClayFeatures | None"


def _pairs(first: Path, second: Path) -> list[_Pair]:
    """Return the pictures to compare.

    Raises:
        GaneditError: One is a folder and the other is not, or two folders share no picture.
    """
    if first.is_dir() != second.is_dir():
        folder = first if first.is_dir() else second
        raise GaneditError(f"{folder}: is a folder, the other is not; give two of a kind")
    if not first.is_dir():
        places = _Place(first.parent, first.name), _Place(second.parent, second.name)
        return [_Pair(second.name, places)]
    ours, theirs = _pictures(first), _pictures(second)
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise GaneditError(f"{first} and {second}: share no picture of the same name")
    for folder, names in ((first, ours.keys() - theirs), (second, theirs.keys() - ours)):
        if names:
            shown = sorted(names)[:_MOST_NAMES]
            more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
            console.warn(f"{folder}: only here, so left out: {', '.join(shown)}{more}")
    return [
        _Pair(name, (_Place(first, ours[name]), _Place(second, theirs[name]))) for name in shared
    ]


def _pictures(folder: Path) -> dict[str, str]:
    """Return the pictures of a folder by their names in it.

    A name has no suffix, but where two pictures would share it, as the results of project.
    """
    from ganedit.data.sources import open_source

    with open_source(folder) as source:
        files = source.picture_names()
    stems = [Path(file).with_suffix("").as_posix() for file in files]
    count = Counter(stems)
    return {
        stem if count[stem] == 1 else file: file for stem, file in zip(stems, files, strict=True)
    }


def _load_judges(
    place: "torch.device", vgg_weights: str | None, identity_weights: str | None, *, clay: bool
) -> _Judges:
    from ganedit.features import load_clay_features
    from ganedit.features.arcface import find_arcface

    lpips = find_lpips(vgg_weights, place)
    features = load_clay_features(place) if clay else None
    return _Judges(place, lpips, find_arcface(identity_weights, place), features)


def _read(place: _Place, *, network: str | None, device: str) -> _Picture:
    """Return a picture, or what a latent's generator draws.

    Raises:
        GaneditError: It cannot be read or drawn.
    """
    from ganedit.io import read_image

    if place.path.suffix.lower() not in _LATENTS:
        return _Picture(read_image(place.path), _recorded(place))
    return _drawn(place, network=network, device=device)


def _drawn(place: _Place, *, network: str | None, device: str) -> _Picture:
    from ganedit.editing import synthesize

    path = str(place.path)
    model, (latent,) = open_latents([path], network=network, device=device, truncation_psi=1.0)
    if len(latent) > 1:
        raise GaneditError(f"{path}: holds {len(latent)} latents; compare takes files of one")
    (image,) = synthesize(model, latent)
    (deviation,) = measure_deviation(model.generator)(latent.ws)
    return _Picture(image.clamp(-1, 1), {**_recorded(place), "deviation": deviation})


def _recorded(place: _Place) -> dict[str, float]:
    """Return what the run that wrote a result says of its latent; nothing for other pictures."""
    from ganedit.io.runs import RECORD

    try:
        record = json.loads((place.folder / RECORD).read_text(encoding="utf-8"))
        results = {result["name"]: result for result in record["results"]}
        found = results.get(Path(place.inside).with_suffix("").as_posix(), {})
        facts = {key: float(found[key]) for key in ("deviation", "domain_gap") if key in found}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}  # no record, or another program's
    return {key: value for key, value in facts.items() if math.isfinite(value)}


def _figures(pair: _Pair, a: _Picture, b: _Picture, judges: _Judges) -> dict[str, Any]:
    """Return the figures of one pair; None where they cannot be had."""
    from ganedit.metrics import mse, psnr, ssim

    first, second = (image.to(judges.device) for image in _one_size(a.image, b.image))
    side = min(first.shape[2:])
    figures: dict[str, Any] = {
        "psnr": min(float(psnr(first, second)), _HIGHEST_PSNR),
        "mse": float(mse(first, second)),
        "ssim": float(ssim(first, second)) if side >= _SMALLEST["ssim"] else None,
        **_judged(first, second, judges),
        "deviation_a": a.facts.get("deviation"),
        "deviation_b": b.facts.get("deviation"),
        "domain_gap": b.facts.get("domain_gap", a.facts.get("domain_gap")),
        "cropped_to": None if a.image.shape == b.image.shape else side,
    }
    _warn_if_far(pair, figures["domain_gap"])
    return {key: round(x, 6) if isinstance(x, float) else x for key, x in figures.items()}


def _one_size(a: "Tensor", b: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return two pictures of one size: as they are, or as squares of the smaller one's side."""
    from ganedit.io import to_square

    if a.shape == b.shape:
        return a, b
    side = min(*a.shape[2:], *b.shape[2:])
    return to_square(a, side), to_square(b, side)


def _judged(a: "Tensor", b: "Tensor", judges: _Judges) -> dict[str, Any]:
    """Return the figures of networks."""
    import torch

    from ganedit.losses.perceptual import clay_distance
    from ganedit.metrics import identity_errors, identity_similarity

    side, square = min(a.shape[2:]), a.shape[2] == a.shape[3]
    figures: dict[str, Any] = {"lpips": None, "identity": None}
    with torch.no_grad():
        if judges.lpips is not None and side >= _SMALLEST["lpips"]:
            figures["lpips"] = float(judges.lpips(a, b))
        if judges.arcface is not None and square:
            figures["identity"] = float(identity_similarity(judges.arcface, a, b))
        if judges.clay is not None and side >= _SMALLEST["clay"]:
            figures["clay"] = float(clay_distance(judges.clay)(a, b))
            factors = {key: float(x) for key, x in identity_errors(judges.clay, a, b).items()}
            figures["factor_error"] = sum(factors.values()) / len(factors)
            figures["factors"] = {key: round(x, 4) for key, x in factors.items()}
    return figures


def _warn_if_far(pair: _Pair, gap: float | None) -> None:
    from ganedit.inversion import DOMAIN_GAP_LIMIT

    if gap is not None and gap > DOMAIN_GAP_LIMIT:
        console.warn(
            f"{pair.name}: its photo is unlike the generator's pictures (domain gap {gap:.2f}, up"
            f" to {DOMAIN_GAP_LIMIT:g} is usual)"
        )


def _note_sizes(results: Sequence[Mapping[str, Any]]) -> None:
    cropped = [result["cropped_to"] for result in results if result["cropped_to"] is not None]
    if cropped:
        side = f"{cropped[0]}x{cropped[0]} pixels" if len(set(cropped)) == 1 else "the smaller side"
        console.note(
            f"{len(cropped)} of {len(results)} pairs are of two sizes; compared as central squares"
            f" of {side}"
        )


def _means(results: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the mean of every figure; None unless all pairs have it."""
    means: dict[str, float | None] = {}
    for key in (*_TITLES, "domain_gap"):
        column = [result.get(key) for result in results]
        if key != "name" and any(key in result for result in results):
            known = [value for value in column if value is not None]
            whole = len(known) == len(results)
            means[key] = round(sum(known) / len(known), 6) if whole else None
    return means


def _report(results: Sequence[Mapping[str, Any]], means: Mapping[str, float | None]) -> None:
    """Print a table; a figure that some pairs lack is left empty there and in the mean."""
    titles = {
        key: title
        for key, title in _TITLES.items()
        if any(result.get(key) is not None for result in results)
    }
    rows = [[result.get(key) for key in titles] for result in results]
    if len(rows) > 1:
        rows.append(["mean", *(means[key] for key in titles if key != "name")])
    console.table("", list(titles.values()), rows)
    factors = [result["factors"] for result in results if "factors" in result]
    if factors:
        rows = [[name, sum(f[name] for f in factors) / len(factors)] for name in factors[0]]
        console.table("", ["factor", "error"], rows)


def _tell_failures(failed: Sequence[str], count: int) -> None:
    """List the pairs that could not be compared.

    Raises:
        GaneditError: There are any.
    """
    if count == 1 and failed:
        raise GaneditError(failed[0])
    for reason in failed[1:]:
        console.warn(f"failed: {reason}")
    if failed:
        raise GaneditError(f"{len(failed)} of {count} pairs failed: {failed[0]}")
