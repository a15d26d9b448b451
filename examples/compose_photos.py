"""Two photos in one latent, by a mask: the figure of docs/compose.md."""

import sys
from pathlib import Path

import torch

import ganedit
from ganedit.checkpoints import load_encoder
from ganedit.inversion import encode
from ganedit.inversion.composition import collage, compose
from ganedit.io import labelled_grid

HERE = Path(__file__).parent


def main(out: Path, steps: int = 200) -> None:
    network, encoder = ganedit.load("clay"), load_encoder("clay-encoder")
    side = network.generator.img_resolution
    files = ("photo.jpg", "photo-2.jpg", "mask.png")
    first, second, grey = (
        ganedit.to_square(ganedit.read_image(HERE / name), side) for name in files
    )
    chin = (grey.mean(dim=1, keepdim=True) + 1) / 2  # [1, 1, R, R]
    hair = torch.zeros_like(chin)
    hair[:, :, : side // 3] = 1
    a, b = torch.cat([first, second]), torch.cat([second, first])
    mask = torch.cat([chin, hair])
    pasted = collage(a, b, mask)
    start = encode(network, encoder, pasted)
    found = compose(network, a, b, mask, initial=start, steps=steps)
    columns = [a, b, (mask * 1.8 - 1).expand_as(a), pasted, found.images]
    pictures = torch.stack(columns, dim=1).flatten(0, 1)  # row by row
    labels = ["A", "B", "mask", "pasted", "composed"] * len(a)
    sheet = labelled_grid(pictures, labels, columns=len(columns), min_side=192)
    ganedit.write_image(out / "compose.png", sheet)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent / "docs" / "images"))
