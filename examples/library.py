"""What the commands do, in a few lines: invert two photos, walk from one to the other, mix them."""

import sys
from pathlib import Path

import ganedit

HERE = Path(__file__).parent


def main(out: Path, steps: int = 200) -> None:
    network = ganedit.load("clay")
    side = network.generator.img_resolution
    photos = [HERE / "photo.jpg", HERE / "photo-2.jpg"]

    latents = []
    for photo in photos:
        target = ganedit.to_square(ganedit.read_image(photo), side)
        found = ganedit.project(network, target, steps=steps)
        latents.append(found.latent(network, names=[photo.stem]))
        ganedit.save_latent(out / f"{photo.stem}.pt", latents[-1])

    path = ganedit.interpolate(latents, frames=24, loop=True)
    ganedit.write_gif(out / "walk.gif", ganedit.synthesize(network, path))

    mixed = ganedit.mix(latents[0], latents[1], layers=range(4))  # coarse layers of the second
    for image in ganedit.synthesize(network, mixed):
        ganedit.write_image(out / "mixed.png", image)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
