"""Measure photos turned into volumes: python examples/measure_photo_to_3d.py NETWORK HEADS."""

import sys

import torch

import ganedit
from ganedit.data.clayheads import FACTOR_INDEX
from ganedit.features import load_clay_features
from ganedit.inversion import estimate_cameras
from ganedit.metrics import depth_correlation, psnr
from ganedit.training.features import UNSEEN_SEED

YAWS = (-0.4, 0.4, -0.5, -0.25, 0.25, 0.5)  # radians: of two more photos, of four other views


def measure(model, seed: int, photos: int, space: str, steps: int):
    row, near = ganedit.sample_factors([seed]).repeat(7, 1), ganedit.load_perceptual("clay")
    row[1:, FACTOR_INDEX["yaw"]] = torch.tensor(YAWS)
    head = ganedit.render(row)
    shown, others = head.image[:photos], head.image[3:]
    known = {"cameras": estimate_cameras(load_clay_features(), shown, model.generator)}
    found = ganedit.project(model, shown, one_head=True, space=space, steps=steps, **known)
    tuned = ganedit.tune(model, found.latent(model), shown, steps=steps, **known)
    for drawn in (model.generator, tuned.applied(model).generator):
        views = [drawn.planes(found.ws), found.ws]
        own, aside = (drawn.render(*views, x) for x in (known["cameras"], head.camera[3:]))
        values = psnr(own.image, shown), near(own.image, shown), psnr(aside.image, others)
        yield [float(x.mean()) for x in (*values, depth_correlation(aside.depth, head.depth[3:]))]


def main(network: str, heads: int = 16, steps: int = 100) -> None:
    model, seeds = ganedit.load(network), range(UNSEEN_SEED, UNSEEN_SEED + heads)
    for case in ((1, "w"), (1, "w+"), (3, "w"), (3, "w+")):
        table = torch.tensor([list(measure(model, seed, *case, steps)) for seed in seeds])
        print(*case, table.mean(dim=0).tolist(), flush=True)  # projected, tuned


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
