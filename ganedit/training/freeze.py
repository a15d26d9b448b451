"""FreezeD: keep the discriminator's highest-resolution layers as they are (Mo et al. 2020)."""

from torch import nn

from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Discriminator


def freeze_layers(discriminator: StyleGAN2Discriminator, count: int) -> list[nn.Parameter]:
    """Switch off the gradients of the first ``count`` layers and return what still trains.

    Layers are counted from the picture inwards, as NVlabs counts them: the first block has four
    (fromrgb, conv0, conv1, skip), each later one three.

    Args:
        discriminator: Changed in place: the other layers' gradients are switched on.
        count: How many layers to freeze.

    Raises:
        GaneditError: There are fewer layers than that.
    """
    layers = discriminator.freezable_layers()
    if not 0 <= count <= len(layers):
        raise GaneditError(
            f"--freezed must be 0 to {len(layers)} for this discriminator, got {count}"
        )
    discriminator.requires_grad_(True)
    for layer in layers[:count]:
        layer.requires_grad_(False)
    return [parameter for parameter in discriminator.parameters() if parameter.requires_grad]
