"""Adversarial losses of StyleGAN2: non-saturating logistic, R1, path length."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_logistic_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating loss of the generator, mean of ``-log sigmoid(logits)`` (Goodfellow 2014).

    Args:
        fake_logits: Discriminator outputs of generated images, [N, 1].

    Returns:
        Scalar.
    """
    return F.softplus(-fake_logits.float()).mean()


def discriminator_logistic_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic loss of the discriminator, ``-log sigmoid(real) - log(1 - sigmoid(fake))``.

    Args:
        real_logits: Discriminator outputs of data images, [N, 1].
        fake_logits: Discriminator outputs of generated images, [N, 1].

    Returns:
        Scalar.
    """
    return F.softplus(-real_logits.float()).mean() + F.softplus(fake_logits.float()).mean()


def r1_penalty(real_logits: Tensor, real_images: Tensor) -> Tensor:
    """Squared gradient norm of D on data images (Mescheder 2018, Eq. 9), without gamma / 2.

    Args:
        real_logits: D(real_images), [N, 1], with its graph.
        real_images: Images that require a gradient, [N, C, H, W]; or latents, [N, w_dim].

    Returns:
        Mean over the batch, a scalar that can be differentiated once more.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradient.float().flatten(1).square().sum(1).mean()


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Length of the image's change along a random image direction (StyleGAN2, Eq. 4).

    Args:
        images: Generated images with their graph, [N, C, H, W].
        ws: The latents that they came from, [N, num_ws, w_dim], requiring a gradient.
        noise: Standard normal numbers of the images' shape.

    Returns:
        ``|J_w^T y|`` with ``y = noise / sqrt(H * W)``, root mean square over num_ws, [N];
        it can be differentiated once more.
    """
    height, width = images.shape[2:]
    projected = (images * noise).sum() / math.sqrt(height * width)
    (gradient,) = torch.autograd.grad(projected, ws, create_graph=True)  # [N, num_ws, w_dim]
    return gradient.float().square().sum(2).mean(1).sqrt()
