"""Measure the embedded encoder on unseen heads, beside the average picture.

python examples/measure_encoder.py
"""

import time

import torch

import ganedit
from ganedit.checkpoints import load_encoder
from ganedit.features import load_clay_features
from ganedit.inversion import encode
from ganedit.metrics import psnr
from ganedit.training.features import UNSEEN_SEED


def main(photos: int = 32) -> float:
    network, encoder = ganedit.load("clay"), load_encoder("clay-encoder")
    features, perceptual = load_clay_features(), ganedit.load_perceptual("clay")
    heads = ganedit.render(ganedit.sample_factors(range(UNSEEN_SEED, UNSEEN_SEED + photos))).image
    encode(network, encoder, heads[:1])  # the first call sets things up
    start = time.perf_counter()
    found = [encode(network, encoder, head[None]) for head in heads]
    seconds = (time.perf_counter() - start) / photos
    average = encoder.average.expand(photos, network.generator.num_ws, -1)
    for name, ws in {"average": average, "encode": torch.cat(found)}.items():
        images = network.generator.synthesize(ws)
        factors = [features.predict(x).factors[:, :4] for x in (images, heads)]  # skin, head, jaw
        error = (factors[0] - factors[1]).abs().mean()
        quality, distance = psnr(images, heads), perceptual(images, heads).mean()
        print(f"{name}: PSNR {quality.mean():.2f} dB (least {quality.min():.2f}),", end=" ")
        print(f"distance {distance:.4f}, factor error {error:.3f}")
    print(f"{seconds * 1000:.1f} ms a photo")
    return float(quality.mean())


if __name__ == "__main__":
    main()
