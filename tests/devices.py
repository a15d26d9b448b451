"""A device that knows no float64, as Apple's does not, for machines without one."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class NoFloat64(TorchDispatchMode):
    """Refuses float64 on the ``meta`` device, which computes shapes only."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type == "meta":
            assert result.dtype != torch.float64, f"{func} makes float64"
        return result
