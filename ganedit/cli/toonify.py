"""``ganedit emojify`` and ``ganedit toonify``: photos in another style, in one command."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganedit.cli import console
from ganedit.cli.blends import Order, check_blendable, check_levels, note_unrelated
from ganedit.cli.crops import AlignOption, Crops, FaceOption, check_face
from ganedit.cli.distances import VggOption, open_distances
from ganedit.cli.heads import Heads, open_heads
from ganedit.cli.options import (
    ClassOption,
    DeviceOption,
    JsonOption,
    OptionalNetworkOption,
    OutOption,
    OverwriteOption,
)
from ganedit.cli.pasting import PasteBackOption, write_pasted
from ganedit.cli.photos import Photo, batch_size, list_photos, read_batches
from ganedit.cli.project import warn_if_far
from ganedit.cli.sources import is_file, is_folder, open_label, open_network
from ganedit.cli.starts import open_start
from ganedit.cli.viewpoints import check_flat
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.io import Latent, OutputFolder

STEPS = 120
"""Of a projection from an encoder's latents."""

_LEVELS = {"emoji": (64, 32, 16, 8), "toon": (64, 32, 16)}

_Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO|LATENT...",
        help="Pictures, which are projected first; or latent files and seeds, which are drawn as"
        " they are.",
    ),
]
_At = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Resolutions from which on layers are the style's, in pixels: small ones change"
        " shapes, too, large ones only colours. All are drawn side by side, and the last is the"
        " result.",
    ),
]
_OrderOption = Annotated[
    Order, typer.Option(help="AB has the style's texture on the photo's shapes; BA the reverse.")
]
_Transparent = Annotated[
    bool, typer.Option("--transparent", help="Remove the background of the result.")
]
_Steps = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100_000,
        help=f"Steps of the projection: by default {STEPS} where there is an encoder.",
    ),
]


def emojify(
    sources: _Sources,
    at: _At = None,
    order: _OrderOption = "AB",
    transparent: _Transparent = False,
    steps: _Steps = None,
    align: AlignOption = None,
    face: FaceOption = "largest",
    paste_back: PasteBackOption = False,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make an emoji of a clay head.

    Writes, for photo.jpg: photo-emoji.png, photo-emoji-sheet.png (the photo, what was found of it,
    and the emoji at several levels) and photo.pt, the latent. Like toonify with clay-emoji.

    Example: ganedit emojify examples/photo.jpg
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    more = {"network": "clay", "style": "clay-emoji", "vgg_weights": None, "class_index": None}
    _run(arguments | more, kind="emoji", command="emojify")


def toonify(
    sources: _Sources,
    style: Annotated[
        str,
        typer.Option(
            metavar="NETWORK", help="A generator of the style, fine-tuned from the photos' one."
        ),
    ],
    network: OptionalNetworkOption = None,
    at: _At = None,
    order: _OrderOption = "AB",
    transparent: _Transparent = False,
    steps: _Steps = None,
    align: AlignOption = None,
    face: FaceOption = "largest",
    paste_back: PasteBackOption = False,
    class_index: ClassOption = None,
    vgg_weights: VggOption = None,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Draw photos in the style of a fine-tuned generator.

    Photos are projected into the generator that they look like (clay, or --network), and drawn by
    blends of it and the style. Writes, for photo.jpg: photo-toon.png, photo-toon-sheet.png (the
    photo, what was found of it, and the blends) and photo.pt, the latent.

    Example: ganedit toonify examples/photo.jpg --style clay-emoji --at 32,16
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    _run(arguments, kind="toon", command="toonify")


@dataclass(frozen=True, eq=False)
class _Job:
    """Heads to draw in a style.

    Attributes:
        heads: Latents of the base network.
        photos: What they were projected from, [1, 3, R, R] each; none where latents were given.
        facts: Of each, for the record.
    """

    heads: Heads
    photos: "Sequence[Tensor]"
    facts: Sequence[dict[str, Any]]


def _run(arguments: Mapping[str, Any], *, kind: str, command: str) -> None:
    """Do what both commands do.

    Args:
        arguments: Of the command.
        kind: What results are called: photo-KIND.png.
        command: Its name.

    Raises:
        GaneditError: Something cannot be used.
    """
    from ganedit.io import OutputFolder

    wanted = _parse_levels(arguments["at"])
    photos = _list_photos(arguments, kind)
    files = [*arguments["sources"], arguments["style"], arguments["network"] or ""]
    out, overwrite = Path(arguments["out"]), arguments["overwrite"]
    folder = OutputFolder(out, command=command, overwrite=overwrite, inputs=files)
    given = {**arguments, "latents": arguments["sources"], "seed": None, "trunc": 0.7}
    heads = None if photos else open_heads(given)
    device = arguments["device"]
    base = heads.model if heads else open_network(arguments["network"] or "clay", device=device)
    style = open_network(arguments["style"], device=device)
    if photos:
        check_flat(
            base, why="photos need a camera; use 'ganedit project', then toonify the latents"
        )
    at = _levels(base, style, wanted, kind)
    if heads is None:
        job = _project(base, photos, folder, arguments, kind)
    else:
        job = _given(heads, folder, kind)
    pictures = _render(job.heads, style, at, arguments["order"])
    paths = _write(folder, job, pictures, at, kind, transparent=arguments["transparent"])
    record = {
        "arguments": arguments,
        "generator": {"network": base.home, "fingerprint": base.fingerprint},
        "style": {"network": style.home, "fingerprint": style.fingerprint},
        "levels": at,
        "results": list(job.facts),
    }
    paths.append(folder.finish(record))
    console.emit_json(record) if arguments["as_json"] else console.emit_paths(paths)


def _parse_levels(text: str | None) -> list[int]:
    """Return the levels of a list, in its order; none where there is no list.

    Raises:
        typer.BadParameter: The text does not parse (exit code 2).
    """
    if text is None:
        return []
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"at: {text[:60]!r} is no list of levels; try 32,16") from error


def _levels(base: "Network", style: "Network", wanted: Sequence[int], kind: str) -> list[int]:
    """Return the levels to draw, after checking that the networks have them.

    Raises:
        GaneditError: They do not, or are of different architectures.
    """
    from ganedit.blending import levels

    check_blendable(base, style)
    check_levels(base, wanted, option="--at")
    note_unrelated(base, style)
    known = levels(base.generator)
    return list(wanted) or [level for level in _LEVELS[kind] if level in known] or [known[-1]]


def _list_photos(arguments: Mapping[str, Any], kind: str) -> list[Photo]:
    """Return the photos among the sources; none where all are latents.

    Raises:
        GaneditError: Some are photos and some are not, or two would share a result.
        typer.BadParameter: An option is for the other kind (exit code 2).
    """
    sources, align = arguments["sources"], arguments["align"]
    check_face(arguments["face"], align)
    photos = [_is_photo(source) for source in sources]
    if not any(photos):
        if arguments["steps"] is not None or align is not None:
            raise typer.BadParameter("--steps and --align are for photos; these are latents")
        return []
    if not all(photos):
        raise GaneditError(
            f"{sources[photos.index(False)]}: is no picture, and others are; give photos and"
            " latents to two commands"
        )
    if arguments["paste_back"] and align is None:
        raise typer.BadParameter("--paste-back needs a face that was cropped; add --align auto")
    return list_photos(sources, Path(arguments["out"]), suffixes=_suffixes(kind))[0]


def _is_photo(source: str) -> bool:
    """Return whether a source is a picture, or a folder of them, rather than a latent."""
    from ganedit.io import IMAGE_SUFFIXES, looks_like_picture

    if is_folder(source) or Path(source).suffix.lower() in IMAGE_SUFFIXES:
        return True
    return is_file(source) and looks_like_picture(Path(source))


def _suffixes(kind: str) -> tuple[str, ...]:
    """Return what results of a photo are called."""
    return (".pt", f"-{kind}.png", f"-{kind}-sheet.png")


def _result_names(names: Sequence[str], kind: str, *, photos: bool) -> list[str]:
    """Return the results of some heads, but for pasted ones."""
    suffixes = _suffixes(kind) if photos else _suffixes(kind)[1:]
    return [f"{name}{suffix}" for name in names for suffix in suffixes]


def _pasted_names(names: Sequence[str], kind: str) -> list[str]:
    return [f"{name}-{kind}-pasted.png" for name in names]


def _given(heads: Heads, folder: "OutputFolder", kind: str) -> _Job:
    """Take latents as they are.

    Raises:
        GaneditError: A result cannot be written.
    """
    pasted = _pasted_names(heads.pasted(), kind)
    folder.claim(_result_names(heads.names, kind, photos=False) + pasted)
    return _Job(heads, (), [{"name": name} for name in heads.names])


def _project(
    base: "Network",
    photos: Sequence[Photo],
    folder: "OutputFolder",
    arguments: Mapping[str, Any],
    kind: str,
) -> _Job:
    """Project photos, in a few steps from an encoder's latents where there is one.

    Raises:
        GaneditError: A photo cannot be used, or a result cannot be written.
    """
    from ganedit.editing import stack
    from ganedit.inversion import project as find_latents

    device, place = arguments["device"], base.generator.w_avg.device
    label = open_label(base, arguments["class_index"])
    start = open_start("auto", base, label=label, device=device)
    perceptual, _ = open_distances("auto", base, arguments["vgg_weights"])
    side = base.generator.img_resolution
    crops = Crops(side, detector=arguments["align"], face=arguments["face"], device=place)
    photos = crops.spread(photos, on_bad=None)
    names = [photo.name for photo in photos]
    pasted = _pasted_names(names if arguments["paste_back"] else [], kind)
    folder.claim(_result_names(names, kind, photos=True) + pasted)
    steps = arguments["steps"] or (STEPS if start.source.startswith("encoder") else None)
    latents: list[Latent] = []
    pictures: list[Tensor] = []
    facts = []
    batches = read_batches(photos, read=crops.read, size=batch_size(side, place), on_bad=None)
    with console.progress("Projecting") as on_step:
        for rows, targets in batches:
            read = [photo.name for photo in rows]
            targets = targets.to(place)
            found = find_latents(
                base,
                targets,
                perceptual=perceptual,
                initial=start.find(targets, read),
                steps=steps,
                optimize_noise=False,
                on_step=lambda step, total, values: on_step(step, total, {}),
            )
            latents.append(found.latent(base, names=read))
            pictures += targets.cpu().split(1)
            for photo, gap, distance in zip(rows, found.domain_gap, found.distance, strict=True):
                warn_if_far(photo.path, float(gap))
                figures = {
                    "distance": round(float(distance), 6),
                    "domain_gap": round(float(gap), 3),
                }
                facts.append({"name": photo.name, "photo": photo.path, **figures})
    places = [crops.alignments.get(name) for name in names]
    heads = Heads(base, stack(latents), names, places, arguments["paste_back"])
    return _Job(heads, pictures, facts)


def _render(
    heads: Heads, style: "Network", at: Sequence[int], order: Order
) -> "list[list[Tensor]]":
    """Return the heads' pictures by the base, and by the blend at each level; [1, 3, R, R] each."""
    from ganedit.blending import blend, switch_shares
    from ganedit.editing import synthesize

    one, other = heads.model.generator, style.generator
    lower, upper = (one, other) if order == "AB" else (other, one)
    drawn = [list(synthesize(heads.model, heads.latent))]
    with console.progress("Drawing", len(at)) as on_step:
        for done, level in enumerate(at, start=1):
            blended = blend(lower, upper, switch_shares(one, level))
            # It draws the base's latents, whatever its own fingerprint would be.
            model = replace(heads.model, generator=blended)
            drawn.append(list(synthesize(model, heads.latent)))
            on_step(done, len(at), {})
    return [[picture.clamp(-1, 1) for picture in pictures] for pictures in drawn]


def _write(
    folder: "OutputFolder",
    job: _Job,
    drawn: "Sequence[Sequence[Tensor]]",
    at: Sequence[int],
    kind: str,
    *,
    transparent: bool,
) -> list[Path]:
    """Write all results.

    Args:
        folder: Where to.
        job: What was drawn.
        drawn: Of `_render`.
        at: The levels.
        kind: What results are called.
        transparent: Remove the background of the results.
    """
    import torch

    from ganedit.editing.background import cut_out
    from ganedit.io import labelled_grid, save_latent, write_image

    paths = []
    captions = ["photo"] * bool(job.photos) + ["as found"] * bool(job.photos)
    captions = (captions or ["latent"]) + [f"at {level}" for level in at]
    for index, (name, place) in enumerate(zip(job.heads.names, job.heads.places, strict=True)):
        row = [*job.photos[index : index + 1], *(pictures[index] for pictures in drawn)]
        image, opacity = cut_out(row[-1]) if transparent else (row[-1], None)
        sheet = labelled_grid(torch.cat(row), captions, columns=len(row))
        if job.photos:
            latent = job.heads.latent.row(index)
            latent = replace(latent, alignment=() if place is None else (place,))
            paths.append(folder.write(f"{name}.pt", partial(save_latent, latent=latent)))
        write = partial(write_image, image=image, opacity=opacity)
        paths.append(folder.write(f"{name}-{kind}.png", write))
        write = partial(write_image, image=sheet)
        paths.append(folder.write(f"{name}-{kind}-sheet.png", write))
        if job.heads.paste and place is not None:
            paths.append(write_pasted(folder, f"{name}-{kind}", place, row[-1]))
    return paths
