"""What of two networks trains when they are fine-tuned, and what stays as it was.

FreezeD (Mo et al. 2020), and FreezeG and FreezeD as Cartoon-StyleGAN (Back 2021, "Fine-Tuning
StyleGAN2 For Cartoon Face Generation") has them.
"""

from torch import nn

from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Discriminator, StyleGAN2Generator


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
    _check("--freeze-d", count, len(layers), "layers of this discriminator")
    discriminator.requires_grad_(True)
    for layer in layers[:count]:
        layer.requires_grad_(False)
    return _trainable(discriminator)


def train_last_blocks(discriminator: StyleGAN2Discriminator, count: int) -> list[nn.Parameter]:
    """Switch off the gradients of all blocks but the last ``count`` and return what trains.

    What follows the blocks, the layers at 4 pixels and the mapping of labels, always trains. So
    Cartoon-StyleGAN counts: more blocks, more that trains.

    Args:
        discriminator: Changed in place.
        count: How many blocks train, counted from the logits.

    Raises:
        GaneditError: There are fewer blocks than that.
    """
    resolutions = discriminator.block_resolutions
    _check("--train-d-blocks", count, len(resolutions), "blocks of this discriminator")
    discriminator.requires_grad_(True)
    for resolution in resolutions[: len(resolutions) - count]:
        getattr(discriminator, f"b{resolution}").requires_grad_(False)
    return _trainable(discriminator)


def train_top_blocks(generator: StyleGAN2Generator, count: int) -> list[nn.Parameter]:
    """Switch off all gradients but those of the ``count`` highest resolutions; return these.

    The mapping network and the lower resolutions stay: Cartoon-StyleGAN's FreezeG.

    Args:
        generator: Changed in place.
        count: How many resolutions train; 0 trains everything, the mapping too.

    Raises:
        GaneditError: There are fewer resolutions than that.
    """
    resolutions = generator.synthesis.block_resolutions
    _check("--freeze-g", count, len(resolutions), "resolutions of this generator")
    generator.requires_grad_(count == 0)
    for resolution in resolutions[len(resolutions) - count :]:
        getattr(generator.synthesis, f"b{resolution}").requires_grad_(True)
    return _trainable(generator)


def check_kept(generator: StyleGAN2Generator, *, styles: int, structure: int) -> None:
    """Check how much of a starting generator is asked to be kept.

    Args:
        generator: That network.
        styles: Latents that its mapping gives.
        structure: Resolutions, from 8 pixels on, whose features are compared.

    Raises:
        GaneditError: It has fewer.
    """
    _check("--freeze-style", styles, generator.num_ws, "latents of this generator")
    blocks = len(generator.synthesis.block_resolutions) - 1
    _check("--structure-loss", structure, blocks, "resolutions from 8 pixels on of this generator")


def _check(option: str, count: int, largest: int, what: str) -> None:
    if not 0 <= count <= largest:
        raise GaneditError(f"{option} must be 0 to {largest}, the {what}; got {count}")


def _trainable(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
