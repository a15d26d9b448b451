"""Measure the embedded generator: projection of unseen heads, and distance to the world.

ganedit dataset clay --count 12000 --seed 0 --out clay.zip
python examples/measure_clay.py clay.zip
"""

import sys

import torch

import ganedit
from ganedit.data.dataset import ImageDataset
from ganedit.features import load_clay_features
from ganedit.metrics import frechet_distance, psnr
from ganedit.training.features import UNSEEN_SEED


def main(data: str, count: int = 5000, photos: int = 16, steps: int = 500) -> float:
    network, features = ganedit.load("clay"), load_clay_features()
    world = ImageDataset(data)
    half = min(count, len(world) // 2)
    rows = [torch.arange(half), torch.arange(half, 2 * half)]
    embed = [torch.cat([features.embed(world.batch(i)) for i in r.split(100)]) for r in rows]
    fakes = ganedit.synthesize(network, ganedit.sample(network, range(count)))
    generated = torch.cat([features.embed(image) for image in fakes])
    print(f"Fréchet distance, generated to world: {frechet_distance(generated, embed[0]):.3f}")
    print(f"Fréchet distance, world to world:     {frechet_distance(*embed):.3f}")

    targets = ganedit.render(ganedit.sample_factors(range(UNSEEN_SEED, UNSEEN_SEED + photos))).image
    found = ganedit.project(network, targets, steps=steps)
    values = psnr(found.images, targets)
    print("PSNR of unseen heads, W+, dB:", " ".join(f"{value:.1f}" for value in values.tolist()))
    print(f"mean {values.mean():.2f}, least {values.min():.2f}, {found.seconds:.0f} s in all")
    return float(values.mean())


if __name__ == "__main__":
    main(sys.argv[1])
