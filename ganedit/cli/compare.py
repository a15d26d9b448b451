"""``ganedit compare``: how alike two pictures are, or the pictures of two folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganedit.cli import console
from ganedit.cli.options import DeviceOption
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.features import ClayFeatures
    from ganedit.losses import PerceptualDistance

_TITLES = {
    "name": "picture",
    "psnr": "PSNR (dB)",
    "mse": "MSE",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "clay": "clay distance",
    "identity": "identity error",
}
_SMALLEST = 11  # pixels a side that SSIM needs


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A picture, or a folder of them.")],
    second: Annotated[
        Path,
        typer.Argument(
            metavar="B", help="A picture of that size, or a folder with the same names."
        ),
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
    device: DeviceOption = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON on stdout, not as a table.")
    ] = False,
) -> None:
    """Compare two pictures, or all pictures that two folders share, in numbers.

    PSNR, mean squared error (of values in [-1, 1]), SSIM, and LPIPS where VGG16's weights are at
    hand. Of folders, pictures that only one of them holds are told.

    Example: ganedit compare examples/photo.jpg examples/photo-2.jpg --clay
    """
    pairs = _pairs(first, second)

    from ganedit.features import load_clay_features, vgg16_cache_path
    from ganedit.losses import load_perceptual
    from ganedit.runtime import resolve_device

    place = resolve_device(device)
    lpips = None
    if vgg_weights is not None or vgg16_cache_path().is_file():
        lpips = load_perceptual("lpips", vgg_weights=vgg_weights, device=place)
    features = load_clay_features(place) if clay else None
    results = []
    with console.progress("Comparing", len(pairs)) as show:
        for name, paths in pairs.items():
            a, b = (image.to(place) for image in _read_pair(*paths))
            results.append({"name": name, **_figures(a, b, lpips, features)})
            show(len(results), len(pairs), {})
    means = _means(results)
    if as_json:
        console.emit_json({"pictures": results, "mean": means})
    else:
        _report(results, means)


def _pairs(first: Path, second: Path) -> dict[str, tuple[Path, Path]]:
    """Return the pictures to compare by name.

    Raises:
        GaneditError: One is a folder and the other is not, or two folders share no picture.
    """
    if first.is_dir() != second.is_dir():
        folder = first if first.is_dir() else second
        raise GaneditError(f"{folder}: is a folder, the other is not; give two of a kind")
    if not first.is_dir():
        return {second.name: (first, second)}
    ours, theirs = _pictures(first), _pictures(second)
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise GaneditError(f"{first} and {second}: share no picture of the same name")
    for folder, names in ((first, set(ours) - set(theirs)), (second, set(theirs) - set(ours))):
        if names:
            console.warn(f"{folder}: {len(names)} pictures of no other: {', '.join(sorted(names))}")
    return {name: (ours[name], theirs[name]) for name in shared}


def _pictures(folder: Path) -> dict[str, Path]:
    """Return the pictures of a folder by their names in it, without suffix."""
    from ganedit.data.sources import open_source

    with open_source(folder) as source:
        names = source.picture_names()
    return {Path(name).with_suffix("").as_posix(): folder / name for name in names}


def _read_pair(first: Path, second: Path) -> "tuple[Tensor, Tensor]":
    from ganedit.io import read_image

    a, b = read_image(first), read_image(second)
    if a.shape != b.shape:
        sizes = [f"{image.shape[3]}x{image.shape[2]}" for image in (a, b)]
        raise GaneditError(
            f"{first} and {second}: {sizes[0]} and {sizes[1]} pixels; only equal sizes compare"
        )
    return a, b


def _figures(
    a: "Tensor",
    b: "Tensor",
    lpips: "PerceptualDistance | None",
    features: "ClayFeatures | None",
) -> dict[str, Any]:
    """Return the figures of one pair; None where they cannot be had."""
    import torch

    from ganedit.losses.perceptual import clay_distance
    from ganedit.metrics import identity_errors, mse, psnr, ssim

    figures: dict[str, Any] = {
        "psnr": min(float(psnr(a, b)), 99.0),
        "mse": float(mse(a, b)),
        "ssim": float(ssim(a, b)) if min(a.shape[2:]) >= _SMALLEST else None,
    }
    with torch.no_grad():
        figures["lpips"] = None if lpips is None else float(lpips(a, b))
        if features is not None:
            figures["clay"] = float(clay_distance(features)(a, b))
            factors = {key: float(x) for key, x in identity_errors(features, a, b).items()}
            figures["identity"] = sum(factors.values()) / len(factors)
            figures["factors"] = {key: round(x, 4) for key, x in factors.items()}
    return {key: round(x, 6) if isinstance(x, float) else x for key, x in figures.items()}


def _means(results: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return the mean of every figure that all pairs have."""
    means: dict[str, float | None] = {}
    for key in _TITLES:
        if key != "name" and key in results[0]:
            column = [result[key] for result in results if result[key] is not None]
            whole = len(column) == len(results)
            means[key] = round(sum(column) / len(column), 6) if whole else None
    return means


def _report(results: Sequence[dict[str, Any]], means: dict[str, float | None]) -> None:
    titles = {
        key: title for key, title in _TITLES.items() if means.get(key) is not None or key == "name"
    }
    rows = [[result[key] for key in titles] for result in results]
    if len(rows) > 1:
        rows.append(["mean", *(means[key] for key in titles if key != "name")])
    console.table("", list(titles.values()), rows)
    if "factors" in results[0]:
        shown = results[0]["factors"]
        rows = [[name, sum(r["factors"][name] for r in results) / len(results)] for name in shown]
        console.table("", ["factor", "error"], rows)
