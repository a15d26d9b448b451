"""Measure how soon projection comes close: python examples/measure_inversion.py CURVES.png."""

import math
import sys
import time

import ganedit
from ganedit.checkpoints import load_encoder
from ganedit.inversion import draw_curves, encode
from ganedit.memory import keep_memory
from ganedit.metrics import psnr
from ganedit.training.features import UNSEEN_SEED

PLAIN = {"candidates": 1, "pixel_weight": 0.0, "latent_noise": 0.05, "patience": 10**6}  # NVlabs'


def main(path: str, photos: int = 16, steps: int = 1000) -> dict[str, list[tuple[float, float]]]:
    keep_memory()  # as the command does
    network, encoder = ganedit.load("clay"), load_encoder("clay-encoder")
    targets = ganedit.render(ganedit.sample_factors(range(UNSEEN_SEED, UNSEEN_SEED + photos))).image
    plain = {f"mean, {space}": {**PLAIN, "space": space, "steps": steps} for space in ("w", "w+")}
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, settings in {**plain, "encoder, w+": {}}.items():
        points, start = curves.setdefault(name, []), time.process_time()

        def on_step(step, total, values, points=points, start=start):
            points.append((time.process_time() - start, float(values["distance"].mean())))

        initial = None if settings else encode(network, encoder, targets)
        found = ganedit.project(network, targets, initial=initial, on_step=on_step, **settings)
        goal, quality = curves["mean, w"][-1][1], psnr(found.images, targets).mean()
        soon = next((seconds for seconds, distance in points if distance <= goal), math.nan)
        figures = (len(points), points[-1][0], quality, found.distance.mean(), soon)
        print(name, *(f"{float(value):.4g}" for value in figures), sep=" | ", flush=True)
    ganedit.write_image(path, draw_curves(curves, title="clay distance", below="CPU seconds"))
    return curves


if __name__ == "__main__":
    main(sys.argv[1])
