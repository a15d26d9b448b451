"""Measure pivotal tuning of unseen heads, a generator each.

python examples/measure_tuning.py tunings
"""

import sys
import time
from pathlib import Path

import torch

import ganedit
from ganedit.checkpoints import apply_tuning, save_tuning
from ganedit.inversion import tune
from ganedit.metrics import psnr
from ganedit.training.features import UNSEEN_SEED


def main(folder: Path, photos: int = 4, projection: int = 300, steps: int = 350) -> float:
    network = ganedit.load("clay")
    heads = ganedit.render(ganedit.sample_factors(range(UNSEEN_SEED, UNSEEN_SEED + photos))).image
    found = ganedit.project(network, heads, steps=projection)
    before, latent = psnr(found.images, heads), found.latent(network)
    print(f"projected: {before.mean():.2f} dB, distance {found.distance.mean():.4f}")
    for count, rank in [(n, r) for n in (steps // 3, steps) for r in (None, 4, 16)]:
        images, distances, start = [], [], time.process_time()
        for i in range(photos):
            tuned = tune(network, latent.row(i), heads[i : i + 1], steps=count, rank=rank)
            saved = save_tuning(folder / f"{rank}-{i}", tuned.differences, network, rank=rank)
            images += ganedit.synthesize(apply_tuning(network, saved), latent.row(i))
            distances.append(tuned.distance)
        seconds = (time.process_time() - start) / photos
        values, size = psnr(torch.cat(images), heads), saved.path.stat().st_size / 1000
        print(f"{count} updates, rank {rank}: {values.mean():.2f} dB,", end=" ")
        print(f"distance {torch.cat(distances).mean():.4f}, {seconds:.1f} s, {size:.0f} kB")
    return float((values - before).min())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
