"""``ganedit align`` and ``ganedit paste``: faces out of photos, and back after an edit."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganedit.cli import console
from ganedit.cli.options import DeviceOption, JsonOption, OutOption, OverwriteOption, finite
from ganedit.cli.results import photo_names
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.features.landmarks import Face

SUFFIXES = ("-aligned.png", "-aligned.json")

FaceOption = Annotated[
    str,
    typer.Option(
        "--face", metavar="N|largest|all", help="Which face of a photo; 1 is the largest."
    ),
]
DetectorOption = Annotated[
    str,
    typer.Option(
        "--detector",
        metavar="clay|FILE",
        help="What finds faces: clay (clay heads), the FILE.task of mediapipe's face landmarker, or"
        " a FILE.json of landmarks.",
    ),
]


def align(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Pictures with faces.")],
    face: FaceOption = "largest",
    detector: DetectorOption = "clay",
    size: Annotated[
        int, typer.Option(min=16, max=4096, help="Side of the aligned pictures in pixels.")
    ] = 256,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Crop faces out of photos, upright and framed as generators were trained on them.

    Writes, for photo.jpg: photo-aligned.png, and photo-aligned.json with its place in the photo,
    from which paste puts an edited face back. Clay heads get the framing of their archive, other
    faces that of FFHQ. With --face all, the faces are numbered: photo-aligned-1.png, ...

    Example: ganedit align examples/unaligned.jpg --size 64
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    if face not in ("largest", "all") and not (face.isdecimal() and int(face) > 0):
        raise typer.BadParameter(f"face: {face!r} is none of largest, all and a number from 1")
    names = photo_names(photos, out, suffixes=SUFFIXES)

    from ganedit.io import OutputFolder

    folder = OutputFolder(out, command="align", overwrite=overwrite)
    folder.claim([f"{name}{suffix}" for name in names for suffix in SUFFIXES if face != "all"])
    results: list[dict[str, Any]] = []
    failed: list[str] = []
    paths: list[Path] = []
    with console.progress("Aligning", len(photos)) as show:
        for done, (photo, name) in enumerate(zip(photos, names, strict=True), start=1):
            try:
                image, faces = _wanted(photo, face, detector=detector, device=device)
            except GaneditError as error:
                failed.append(str(error))
            else:
                for index, one in enumerate(faces, start=1):
                    stem = f"{name}-aligned-{index}" if face == "all" else f"{name}-aligned"
                    paths += _write(folder, stem, photo, image, one, size)
                    results.append({"name": stem, "photo": photo, **_facts(one, image)})
            show(done, len(photos), {})
    record = {"arguments": arguments, "results": results, "failed": failed}
    if results:
        paths.append(folder.finish(record))
    _report(results, failed)
    console.emit_json(record) if as_json else console.emit_paths(paths)
    if failed:
        raise GaneditError(_summary(failed, len(photos)))


def paste(
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="The photo that was aligned.")],
    edited: Annotated[
        str, typer.Argument(metavar="EDITED", help="The aligned picture after an edit, any size.")
    ],
    alignment: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="What align wrote (.json), or a latent of an aligned photo (.pt)."
        ),
    ],
    feather: Annotated[
        float,
        typer.Option(
            min=0, max=0.5, callback=finite, help="Width of the seam, of the face's side: 0 to 0.5."
        ),
    ] = 0.1,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put an edited face back into the photo it was aligned from, at the photo's resolution.

    Writes photo-pasted.png for photo.jpg.

    Example: ganedit paste examples/unaligned.jpg edited.png --alignment out/unaligned-aligned.json
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    (name,) = photo_names([photo], out, suffixes=["-pasted.png"])

    from ganedit.data.alignment import paste_into_photo
    from ganedit.io import OutputFolder, read_image, write_image
    from ganedit.io.alignments import load_alignment

    place = load_alignment(alignment)
    picture = paste_into_photo(place, read_image(edited), photo=photo, feather=feather)
    folder = OutputFolder(out, command="paste", overwrite=overwrite)
    folder.claim([f"{name}-pasted.png"])
    paths = [folder.write(f"{name}-pasted.png", partial(write_image, image=picture))]
    record = {"arguments": arguments, "results": [f"{name}-pasted.png"]}
    paths.append(folder.finish(record))
    console.emit_json(record) if as_json else console.emit_paths(paths)


def _wanted(photo: str, face: str, *, detector: str, device: str) -> "tuple[Tensor, list[Face]]":
    """Return a photo, and the faces of it that were asked for.

    Raises:
        GaneditError: It cannot be read, or has none or not that one.
    """
    from ganedit.features.landmarks import choose_faces, find_faces
    from ganedit.io import read_image
    from ganedit.runtime import resolve_device

    image = read_image(photo).to(resolve_device(device))
    faces = find_faces(image, detector=detector)
    if len(faces) > 1 and face == "largest":
        console.warn(f"{photo}: {len(faces)} faces; took the largest, see --face")
    return image, choose_faces(faces, face, name=photo)


def _write(
    folder: Any, stem: str, photo: str, image: "Tensor", face: "Face", size: int
) -> list[Path]:
    from ganedit.data.alignment import alignment_of, crop_quad, share_inside
    from ganedit.io import write_image
    from ganedit.io.alignments import save_alignment

    outside = 1 - share_inside(face.quad, image.shape[3], image.shape[2])
    if outside > 0.02:
        console.warn(
            f"{photo}: the face is at the border; {outside:.0%} of {stem}.png is filled with a"
            " reflection"
        )
    crop = crop_quad(image, face.quad, size)
    place = alignment_of(photo, image, face.quad)
    return [
        folder.write(f"{stem}.png", partial(write_image, image=crop)),
        folder.write(f"{stem}.json", partial(save_alignment, alignment=place)),
    ]


def _facts(face: "Face", image: "Tensor") -> dict[str, Any]:
    """Return what the record and the table say about a face."""
    from ganedit.data.alignment import quad_side, share_inside

    inside = share_inside(face.quad, image.shape[3], image.shape[2])
    return {
        "side": round(quad_side(face.quad), 1),
        "inside": round(inside, 3),
        "score": round(face.score, 3),
    }


def _report(results: list[dict[str, Any]], failed: list[str]) -> None:
    if results:
        titles = {"name": "face", "side": "side (pixels)", "inside": "inside", "score": "score"}
        console.table("", list(titles.values()), [[r[key] for key in titles] for r in results])
    if len(failed) > 1:
        for line in failed:
            console.note(line)


def _summary(failed: list[str], count: int) -> str:
    if len(failed) == 1:
        return failed[0]
    return f"{len(failed)} of {count} photos were not aligned; see above"
