"""Measure how close each method of inversion comes to unseen clay heads, and how soon.

python examples/measure_inversion.py CURVES.png

Prints a row a method, and draws the clay distance over the processor's seconds. The methods that
start from the mean have the loss and the schedule of NVlabs' projector.
"""

import math
import sys
import time

import torch

import ganedit
from ganedit.checkpoints import load_encoder
from ganedit.features import load_clay_features
from ganedit.inversion import draw_curves, encode, tune
from ganedit.losses import clay_distance
from ganedit.memory import keep_memory
from ganedit.metrics import identity_errors, psnr
from ganedit.training.features import UNSEEN_SEED

PLAIN = {"candidates": 1, "pixel_weight": 0.0, "latent_noise": 0.05, "patience": 10**6}
SHAPE = ("head_width", "head_height", "jaw")


def main(path, photos=32, steps=1000, refinement=100, updates=350):
    keep_memory()  # as the command does
    network, encoder, clay = (
        ganedit.load("clay"),
        load_encoder("clay-encoder"),
        load_clay_features(),
    )
    heads = ganedit.render(ganedit.sample_factors(range(UNSEEN_SEED, UNSEEN_SEED + photos))).image
    curves, rows = {}, {}

    def from_mean(space, on_step):
        settings = {**PLAIN, "space": space, "steps": steps}
        return ganedit.project(network, heads, on_step=on_step, **settings)

    def from_encoder(on_step):
        initial = encode(network, encoder, heads)
        return ganedit.project(network, heads, initial=initial, steps=refinement, on_step=on_step)

    def only_encoder(on_step):
        return network.generator.synthesize(encode(network, encoder, heads))

    def tuned(on_step):
        latent = from_encoder(lambda *told: None).latent(network)
        pairs = [(latent.row(row), heads[row : row + 1]) for row in range(photos)]
        return torch.cat([tune(network, *pair, steps=updates).images for pair in pairs])

    methods = {"mean, w": lambda on_step: from_mean("w", on_step)}
    methods |= {"mean, w+": lambda on_step: from_mean("w+", on_step), "encoder": only_encoder}
    methods |= {"encoder, refined": from_encoder, "encoder, refined, tuned": tuned}
    print(
        "method", "PSNR", "distance", "identity", "skin", "shape", "seconds", "to goal", sep=" | "
    )
    for name, run in methods.items():
        points, start = [], time.process_time()

        def on_step(step, total, values, points=points, start=start):
            points.append((time.process_time() - start, float(values["distance"].mean())))

        with torch.set_grad_enabled(run is not only_encoder):
            images = run(on_step)
        seconds = (time.process_time() - start) / photos
        images = getattr(images, "images", images)
        rows[name] = figures(clay, images, heads) | {"seconds": seconds}
        goal = rows["mean, w"]["distance"]
        soon = next((spent / photos for spent, distance in points if distance <= goal), math.nan)
        print(
            name, *(f"{value:.4g}" for value in (*rows[name].values(), soon)), sep=" | ", flush=True
        )
        curves |= {name: points} if points else {}
    ganedit.write_image(path, draw_curves(curves, title="clay distance", below="CPU seconds"))
    return rows


@torch.no_grad()
def figures(clay, images, heads):
    """Return means: identity, skin and shape are errors of factors, as parts of their ranges."""
    errors = {
        key: float(error.mean()) for key, error in identity_errors(clay, images, heads).items()
    }
    return {
        "psnr": float(psnr(images, heads).mean()),
        "distance": float(clay_distance(clay)(images, heads).mean()),
        "identity": sum(errors.values()) / len(errors),
        "skin": errors["skin_tone"],
        "shape": sum(errors[key] for key in SHAPE) / len(SHAPE),
    }


if __name__ == "__main__":
    main(sys.argv[1])
