"""Make docs/images/render-views.png and mesh.png: make_views.py [FOLDER] [NETWORK]."""

import sys
from pathlib import Path

import torch

import ganedit
from ganedit.editing.views import depth_limits
from ganedit.io import labelled_grid
from ganedit.io.depth import depth_picture

IMAGES = Path(__file__).parent.parent / "docs" / "images"
YAWS = range(-30, 31, 10)


def main(out: Path = IMAGES, source: str = "clay-3d", heads: int = 3, points: int = 128) -> None:
    generator = (network := ganedit.load(source, device="cpu")).generator
    side = generator.img_resolution  # and rays, for fine depth
    cameras = generator.cameras_at(torch.tensor(YAWS).deg2rad(), torch.zeros(len(YAWS)))
    sides = generator.cameras_at([-0.9, 0.0, 0.9], [0.0, 0.0, 0.0])
    latents = ganedit.sample(network, range(heads), truncation_psi=0.7)
    views, meshes = [], {None: [], 0.0: []}
    for row in range(heads):
        volume = ganedit.open_volume(network, latents.row(row))
        seen = list(ganedit.render_views(volume, cameras, resolution=side))
        limits = depth_limits([x.depth for x in seen], generator)
        views += [*(x.image for x in seen), *(depth_picture(x.depth, *limits) for x in seen)]
        for behind, drawn in meshes.items():  # as it is, and without what is behind the ears
            mesh = ganedit.volume_mesh(volume, resolution=points, behind=behind)
            drawn += [ganedit.draw_mesh(mesh, one[None], 128, lit=True).image for one in sides]
    captions = heads * [*(f"yaw {yaw}°" for yaw in YAWS), *("depth" for _ in YAWS)]
    sheet = labelled_grid(torch.cat(views), captions, columns=len(YAWS))
    both = ganedit.image_grid(torch.cat(meshes[None] + meshes[0.0]), columns=3 * heads)
    ganedit.write_image(out / "render-views.png", sheet)
    ganedit.write_image(out / "mesh.png", both)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]), *sys.argv[2:])
