"""Distances between pictures and a generator's, in the clay world's feature space."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganedit.data.dataset import ImageDataset
from ganedit.errors import GaneditError
from ganedit.features.clay import load_clay_features
from ganedit.generators import Generator, TriPlaneGenerator
from ganedit.metrics.distribution import frechet_distance
from ganedit.runtime import resolve_device, seeded_normal

_BATCH = 64


def clay_frechet(
    dataset: ImageDataset, *, count: int, device: torch.device | str = "auto"
) -> Callable[[Generator], float]:
    """Return a function that measures how far a generator's pictures are from the data.

    The squared Fréchet distance (`frechet_distance`) between embeddings by the clay feature
    network. The data is embedded once, here; each call embeds the pictures of the seeds 0 to
    ``count - 1``, which take the data's labels in turn when the generator is conditional, and are
    seen from the data's cameras in turn when it is a tri-plane generator.

    Args:
        dataset: The data; of a larger one, ``count`` evenly spread pictures are taken.
        count: Generated pictures a call, at least 2.
        device: Where the generators will be.

    Raises:
        GaneditError: The data holds fewer than two pictures.
    """
    if count < 2:
        raise ValueError(f"count: expected at least 2, got {count}")
    if len(dataset) < 2:
        raise GaneditError(f"{dataset.path}: one picture has no distribution; give at least 2")
    place = resolve_device(str(device))
    features = load_clay_features(place)
    labels = dataset.labels
    chosen = torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().long()

    @torch.no_grad()
    def embed(pictures: Callable[[int, int], Tensor], total: int) -> Tensor:
        starts = range(0, total, _BATCH)
        parts = [features.embed(pictures(a, min(a + _BATCH, total))) for a in starts]
        return torch.cat(parts)  # [total, 256]

    reference = embed(lambda a, b: dataset.batch(chosen[a:b]).to(place), len(chosen))

    def distance(generator: Generator) -> float:
        def pictures(start: int, stop: int) -> Tensor:
            z = seeded_normal(range(start, stop), [generator.z_dim], device=place)
            c = None
            volume = isinstance(generator, TriPlaneGenerator)
            if labels is not None and (generator.c_dim or volume):
                c = labels[torch.arange(start, stop) % len(labels)].to(place)
            if isinstance(generator, TriPlaneGenerator):
                return generator.synthesize(generator.map(z), camera=c).clamp(-1, 1)
            return generator.synthesize(generator.map(z, c)).clamp(-1, 1)

        return frechet_distance(reference, embed(pictures, count))

    return distance
