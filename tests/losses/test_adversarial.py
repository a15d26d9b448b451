import math

import pytest
import torch
import torch.nn.functional as F

from ganedit.losses.adversarial import (
    discriminator_logistic_loss,
    generator_logistic_loss,
    path_lengths,
    r1_penalty,
)


def test_logistic_losses_are_negative_log_likelihoods():
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0]])
    ones, zeros = torch.ones(2, 1), torch.zeros(2, 1)
    cross_entropy = F.binary_cross_entropy_with_logits
    expected = cross_entropy(real, ones) + cross_entropy(fake, zeros)
    torch.testing.assert_close(discriminator_logistic_loss(real, fake), expected)
    torch.testing.assert_close(generator_logistic_loss(fake), cross_entropy(fake, ones))


def test_generator_loss_keeps_its_gradient_where_the_discriminator_is_sure():
    logits = torch.tensor([[-50.0]], requires_grad=True)
    generator_logistic_loss(logits).backward()
    assert logits.grad.item() == pytest.approx(-1)


def test_r1_of_a_linear_discriminator_is_its_squared_norm():
    weight = torch.randn(3 * 8 * 8, 1, dtype=torch.float64).requires_grad_()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    penalty = r1_penalty(images.flatten(1) @ weight, images)
    expected = weight.detach().float().square().sum()
    torch.testing.assert_close(penalty.detach(), expected)
    penalty.backward()
    torch.testing.assert_close(weight.grad, 2 * weight.detach(), rtol=1e-5, atol=1e-5)


def test_path_length_of_a_linear_generator_is_the_norm_of_the_projected_noise():
    num_ws, w_dim, side = 3, 5, 4
    matrix = torch.randn(num_ws * w_dim, 3 * side * side).requires_grad_()
    ws = torch.randn(2, num_ws, w_dim, requires_grad=True)
    images = (ws.flatten(1) @ matrix).reshape(2, 3, side, side)
    noise = torch.randn_like(images)
    lengths = path_lengths(images, ws, noise)
    projected = (noise.flatten(1) / math.sqrt(side * side)) @ matrix.detach().T
    expected = projected.reshape(2, num_ws, w_dim).norm(dim=2).square().mean(1).sqrt()
    torch.testing.assert_close(lengths.detach(), expected)
    lengths.sum().backward()
    assert matrix.grad.abs().sum() > 0
