"""A face out of a photo, projected, edited, and back in: the figure of docs/align.md."""

import sys
from pathlib import Path

import torch

import ganedit
from ganedit.data.alignment import alignment_of, crop_quad, paste_into_photo
from ganedit.features.landmarks import choose_faces, find_faces
from ganedit.io import read_image, write_image

PHOTO = Path(__file__).parent / "unaligned.jpg"


def main(out: Path, steps: int = 300) -> None:
    network = ganedit.load("clay")
    side = network.generator.img_resolution
    photo = read_image(PHOTO)
    (face,) = choose_faces(find_faces(photo, detector="clay"), "largest", name=PHOTO.name)
    place = alignment_of(str(PHOTO), photo, face.quad)

    target = crop_quad(photo, face.quad, side)
    latent = ganedit.project(network, target, steps=steps).latent(network)
    style = ganedit.sample(network, [15], truncation_psi=0.7)
    mixed = ganedit.mix(latent, style, layers=range(4, 7))  # another one's laugh
    pictures = [target, *(next(iter(ganedit.synthesize(network, x))) for x in (latent, mixed))]
    pasted = paste_into_photo(place, pictures[2], feather=0.25)

    height = photo.shape[2]
    tiles = [torch.nn.functional.interpolate(p, (height, height), mode="bicubic") for p in pictures]
    write_image(out / "align.png", torch.cat([photo, *tiles, pasted], 3).clamp(-1, 1))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
