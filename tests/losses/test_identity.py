import torch
from torch import Tensor, nn

from ganedit.losses.identity import identity_loss


class _Directions(nn.Module):
    """The direction of a picture's first two numbers."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(images.flatten(1)[:, :2])


def test_the_angle_between_people_is_measured() -> None:
    images, targets = torch.zeros(3, 3, 4, 4), torch.zeros(3, 3, 4, 4)
    images[:, 0, 0, 0] = 2.0
    targets[0, 0, 0, 0] = 1.0
    targets[1, 0, 0, 1] = 1.0
    targets[2, 0, 0, 0] = -3.0
    images.requires_grad_()
    loss = identity_loss(_Directions(), images, targets)
    torch.testing.assert_close(loss, torch.tensor([0.0, 1.0, 2.0]))
    loss.sum().backward()
    assert images.grad is not None
    # Turning the second picture towards its target brings them closer.
    assert images.grad[1, 0, 0, 1] < 0
