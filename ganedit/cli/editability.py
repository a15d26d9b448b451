"""How far latents are from the average: edits work best near it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.generators import Generator


def measure_deviation(generator: "Generator") -> "Callable[[Tensor], list[float | None]]":
    """Return what measures latents [N, num_ws, w_dim]: 1 is as far as a random one typically is.

    It is project's figure of the same name. Conditional generators have an average for each label,
    which latents do not tell; their figures are None.
    """
    from ganedit.generators.statistics import map_samples, spread
    from ganedit.losses import average_pull

    if generator.c_dim:
        return lambda ws: [None] * len(ws)
    samples = map_samples(generator)
    average, w_std = samples.mean(dim=0), spread(samples)

    def measure(ws: "Tensor") -> list[float | None]:
        pull = average_pull(ws.to(average.device), average, w_std=w_std)
        return [round(value, 3) for value in pull.sqrt().tolist()]

    return measure
