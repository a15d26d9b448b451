"""Measure how close methods of inversion come to heads: python examples/measure_methods.py."""

import time

import torch

import ganedit
from ganedit.features import load_clay_features
from ganedit.memory import keep_memory
from ganedit.metrics import identity_errors, psnr
from ganedit.training.features import UNSEEN_SEED


def invert(network, heads, steps, refinement, updates):
    """Yield methods and pictures; each of the last three goes on from the one before."""
    plain = {"candidates": 1, "pixel_weight": 0.0, "latent_noise": 0.05, "patience": 10**6}
    for space in ("w", "w+"):  # with NVlabs' loss and schedule
        yield f"mean, {space}", ganedit.project(network, heads, space=space, steps=steps, **plain)
    ws = ganedit.encode(network, ganedit.load_encoder("clay-encoder"), heads)
    yield "encoder", network.generator.synthesize(ws)
    yield "refined", (found := ganedit.project(network, heads, initial=ws, steps=refinement))
    rows = [(found.latent(network).row(i), heads[i : i + 1]) for i in range(len(heads))]
    yield "tuned", torch.cat([ganedit.tune(network, *row, steps=updates).images for row in rows])


def main(photos=32, steps=1000, refinement=100, updates=350):
    keep_memory()
    heads = ganedit.render(ganedit.sample_factors(range(UNSEEN_SEED, UNSEEN_SEED + photos))).image
    features, clay, table = load_clay_features(), ganedit.load_perceptual("clay"), {}
    for name, found in invert(ganedit.load("clay"), heads, steps, refinement, updates):
        spent, images = time.process_time() / photos, getattr(found, "images", found).detach()
        figures = {"psnr": psnr(images, heads), "clay": clay(images, heads)}
        figures |= identity_errors(features, images, heads)
        table[name] = {key: round(float(values.mean()), 4) for key, values in figures.items()}
        print(name, f"(a photo's seconds so far: {spent:.3f})", table[name], flush=True)
    return table


if __name__ == "__main__":
    main()
