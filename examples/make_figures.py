"""Make the pictures of the documentation: uncurated samples beside the world, and the tour."""

import sys
from pathlib import Path

import torch

import ganedit
from ganedit.io import labelled_grid

HERE = Path(__file__).parent


def main(out: Path, count: int = 40, steps: int = 500) -> None:
    network = ganedit.load("clay")
    gap = torch.ones(1, 3, 5 * 64, 16)  # white
    world = ganedit.render(ganedit.sample_factors(range(2**30, 2**30 + count))).image
    fakes = torch.cat(list(ganedit.synthesize(network, ganedit.sample(network, range(count)))))
    sheets = [ganedit.image_grid(images, columns=8) for images in (fakes, world)]
    both = torch.cat([sheets[0], gap[:, :, : sheets[0].shape[2]], sheets[1]], dim=3)
    ganedit.write_image(out / "samples.png", both)

    side = network.generator.img_resolution
    paths = [HERE / "photo.jpg", HERE / "photo-2.jpg"]
    photos = torch.cat([ganedit.to_square(ganedit.read_image(path), side) for path in paths])
    found = ganedit.project(network, photos, steps=steps)
    latent = found.latent(network)
    way = ganedit.interpolate([latent], frames=5)
    mixed = ganedit.mix(latent.row(0), latent.row(1), layers=range(4))
    pictures = [photos, found.images, *list(ganedit.synthesize(network, way))[1:-1]]
    pictures += list(ganedit.synthesize(network, mixed))
    labels = ["photo", "photo 2", "projection", "projection 2", "1/4", "1/2", "3/4", "mix"]
    tour = labelled_grid(torch.cat(pictures), labels, columns=8, min_side=128)
    ganedit.write_image(out / "tour.png", tour)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent / "docs" / "images"))
