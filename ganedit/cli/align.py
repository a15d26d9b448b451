"""``ganedit align`` and ``ganedit paste``: faces out of photos, and back after an edit."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganedit.cli import console
from ganedit.cli.crops import FaceOption, check_face, no_face, warn_at_border
from ganedit.cli.options import DeviceOption, JsonOption, OutOption, OverwriteOption, finite
from ganedit.cli.photos import list_photos
from ganedit.cli.results import photo_names
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.features.landmarks import Face

SUFFIXES = ("-aligned.png", "-aligned.json")

DetectorOption = Annotated[
    str,
    typer.Option(
        "--detector",
        metavar="clay|FILE|download",
        help="What finds faces: clay (clay heads), the FILE.task of mediapipe's face landmarker,"
        " which download fetches, or a FILE.json of landmarks.",
    ),
]


def align(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO|FOLDER...", help="Pictures with faces, or folders with all in them."
        ),
    ],
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
    check_face(face, detector)
    found, _ = list_photos(photos, out, suffixes=SUFFIXES)

    from ganedit.features.landmarks import check_detector
    from ganedit.io import OutputFolder

    check_detector(detector, [photo.path for photo in found])
    folder = OutputFolder(out, command="align", overwrite=overwrite)
    folder.claim([f"{p.name}{suffix}" for p in found for suffix in SUFFIXES if face != "all"])
    results: list[dict[str, Any]] = []
    failed: list[str] = []
    paths: list[Path] = []
    with console.progress("Aligning", len(found)) as show:
        for done, photo in enumerate(found, start=1):
            try:
                image, faces = _wanted(photo.path, face, detector=detector, device=device)
            except GaneditError as error:
                failed.append(str(error))
            else:
                for index, one in enumerate(faces, start=1):
                    stem = f"{photo.name}-aligned" + f"-{index}" * (face == "all")
                    paths += _write(folder, stem, photo.path, image, one, size)
                    results.append({"name": stem, "photo": photo.path, **_facts(one, image)})
            show(done, len(found), {})
    record = {"arguments": arguments, "results": results, "failed": failed}
    if results:
        paths.append(folder.finish(record))
    _report(results, failed)
    console.emit_json(record) if as_json else console.emit_paths(paths)
    if failed:
        raise GaneditError(_summary(failed, len(found)))


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
    folder = OutputFolder(
        out, command="paste", overwrite=overwrite, inputs=(photo, edited, alignment)
    )
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
    faces = find_faces(image, detector=detector, photo=photo)
    if not faces:
        raise no_face(photo, detector=detector, option="--detector")
    if len(faces) > 1 and face == "largest":
        console.warn(f"{photo}: {len(faces)} faces; took the largest, see --face")
    return image, choose_faces(faces, face, name=photo)


def _write(
    folder: Any, stem: str, photo: str, image: "Tensor", face: "Face", size: int
) -> list[Path]:
    from ganedit.data.alignment import alignment_of, crop_quad
    from ganedit.io import write_image
    from ganedit.io.alignments import save_alignment

    warn_at_border(photo, image, face)
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
