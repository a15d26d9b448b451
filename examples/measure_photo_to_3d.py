"""Measure photos turned into volumes: python examples/measure_photo_to_3d.py NETWORK."""

import sys

import torch

import ganedit
from ganedit.data.clayheads import FACTOR_INDEX
from ganedit.features import load_clay_features
from ganedit.inversion import estimate_cameras
from ganedit.metrics import depth_correlation, psnr
from ganedit.training.features import UNSEEN_SEED

YAWS = (-0.4, 0.4, -0.5, -0.25, 0.25, 0.5)  # radians: of two more photos, of four other views


def measure(model, seed: int, photos: int, space: str, updates: int, steps: int) -> list[float]:
    row = ganedit.sample_factors([seed]).repeat(7, 1)
    row[1:, FACTOR_INDEX["yaw"]] = torch.tensor(YAWS)
    head, near = ganedit.render(row), ganedit.load_perceptual("clay")
    shown, others = head.image[:photos], head.image[3:]
    known = {"cameras": estimate_cameras(load_clay_features(), shown, model.generator)}
    found = ganedit.project(model, shown, one_head=True, space=space, steps=steps, **known)
    ws, pivot, places = found.ws, found.latent(model), (known["cameras"], head.camera[3:])
    if updates:
        model = ganedit.tune(model, pivot, shown, steps=updates, **known).applied(model)
    own, aside = (model.generator.render(model.generator.planes(ws), ws, x) for x in places)
    figures = psnr(own.image, shown), near(own.image, shown), psnr(aside.image, others)
    return [float(x.mean()) for x in (*figures, depth_correlation(aside.depth, head.depth[3:]))]


def main(network: str = "clay-3d", heads: int = 16, steps: int = 100) -> None:
    model = ganedit.load(network)
    for todo in [(p, s, u) for p in (1, 3) for s in ("w", "w+") for u in (0, steps)]:
        rows = [measure(model, UNSEEN_SEED + seed, *todo, steps) for seed in range(heads)]
        print(*todo, *(f"{x:.4g}" for x in torch.tensor(rows).mean(dim=0)), sep=" | ", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
