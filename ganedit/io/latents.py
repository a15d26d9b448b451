"""Latent files: a dict of tensors and plain values that remembers its generator."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.files import read_start, write_bytes
from ganedit.io.kinds import kind_of
from ganedit.io.stored import StoredTensor
from ganedit.io.torch_files import open_pickled, pickled_container

START_BYTES = 2**12  # enough to tell what a file is
MAX_BYTES = 2**29  # a thousand FFHQ latents are 37 MB; noise maps of one are 22 MB

_FORMAT = "ganedit-latent"
_VERSION = 1
_VERSION_WITH_OFFSETS = 2  # older programs must not draw such a latent without them
_VERSION_WITH_CAMERAS = 3  # nor from the front what a photo shows from elsewhere
_CAMERA_NUMBERS = 25
_LARGEST_SIDE = 10**5  # of a photo, in pixels
_FARTHEST = 10.0**6  # a corner from the photo's, in pixels
_SEPARATORS = "/\\:" if os.name == "nt" else "/\\"
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Alignment:
    """Where in a photo the picture of a latent came from.

    Attributes:
        photo: The photo's file, as it was named then.
        size: Its width and height in pixels.
        quad: Corners of the crop in it, (x, y) each: top left, bottom left, bottom right, top
            right of the picture. Pixels, x to the right, y down, the photo's corner at (0, 0);
            they may lie outside.
    """

    photo: str
    size: tuple[int, int]
    quad: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Check values.

        Raises:
            ValueError: A field is none of what is documented above.
        """
        if not 0 < len(self.photo) <= 4096 or "\0" in self.photo:
            raise ValueError("alignment: expected the name of a photo")
        if len(self.size) != 2 or not all(0 < side <= _LARGEST_SIDE for side in self.size):
            raise ValueError(f"alignment: expected a width and height, got {self.size!r:.60}")
        if len(self.quad) != 4 or not all(len(corner) == 2 for corner in self.quad):
            raise ValueError("alignment: expected four corners of two numbers")
        if not all(abs(x) <= _FARTHEST for xy in self.quad for x in xy):  # NaN is not, either
            raise ValueError("alignment: a corner is not finite, or far outside the photo")


@dataclass(frozen=True)
class Latent:
    """One or many points in a generator's latent space.

    Attributes:
        ws: float32 [N, num_ws, w_dim].
        space: ``w`` when all layers share one vector, ``w+`` when each has its own.
        fingerprint: ``sha256:...`` of the generator that the latent belongs to.
        network: Where that generator came from: an embedded model's name, a path or an address.
        noise: Noise maps in network order, each [N or 1, 1, R, R]; None for the generator's own.
        offsets: Added to the styles of each layer, float32 [N or 1, channels] each, in network
            order (StyleSpace, Wu et al. 2021); None adds nothing.
        names: One name a row, or none at all.
        tuning: Name of a file beside the latent's own, which says how the generator was tuned for
            all rows (`checkpoints.tuning`); None for the generator as it is.
        alignment: Where in which photo each row's picture belongs, one a row, or none at all.
        cameras: From where each row's photo was taken, float32 [N, 25], as `three_d.cameras` has
            them; None for the front, and for flat pictures.
    """

    ws: Tensor
    space: Literal["w", "w+"]
    fingerprint: str
    network: str
    noise: tuple[Tensor, ...] | None = None
    names: tuple[str, ...] = ()
    tuning: str | None = None
    alignment: tuple[Alignment, ...] = ()
    offsets: tuple[Tensor, ...] | None = None
    cameras: Tensor | None = None

    def __post_init__(self) -> None:
        """Check shapes.

        Raises:
            ValueError: A field has another shape, type or value than documented above.
        """
        if self.ws.ndim != 3 or 0 in self.ws.shape or self.ws.dtype != torch.float32:
            raise ValueError(
                f"ws: expected float32 [N, num_ws, w_dim], got {_describe_tensor(self.ws)}"
            )
        if self.space not in ("w", "w+"):
            raise ValueError(f"space: expected 'w' or 'w+', got {self.space!r}")
        if len(self.names) not in (0, len(self.ws)):
            raise ValueError(f"names: expected none or {len(self.ws)}, got {len(self.names)}")
        if len(self.alignment) not in (0, len(self.ws)):
            raise ValueError(
                f"alignment: expected none or {len(self.ws)}, got {len(self.alignment)}"
            )
        if self.tuning is not None and not _is_file_name(self.tuning):
            raise ValueError(f"tuning: expected the name of a file, got {self.tuning!r:.60}")
        _check_drawing(self)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ws)

    def row(self, index: int) -> "Latent":
        """Return one row as a latent with N = 1."""
        return self.rows(index, index + 1)

    def rows(self, start: int, stop: int) -> "Latent":
        """Return the rows from ``start`` to before ``stop``, without copying them."""
        return Latent(
            ws=self.ws[start:stop],
            space=self.space,
            fingerprint=self.fingerprint,
            network=self.network,
            noise=_rows(self.noise, start, stop),
            offsets=_rows(self.offsets, start, stop),
            names=self.names[start:stop],
            tuning=self.tuning,
            alignment=self.alignment[start:stop],
            cameras=None if self.cameras is None else self.cameras[start:stop],
        )


def _check_drawing(latent: Latent) -> None:
    """Check what rows are drawn with besides their ws.

    Raises:
        ValueError: A shape or type is another than documented.
    """
    rows = len(latent.ws)
    for noise in latent.noise or ():
        good = noise.ndim == 4 and noise.shape[0] in (1, rows) and noise.shape[1] == 1
        if not good or 0 in noise.shape:
            raise ValueError(f"noise: expected [1 or {rows}, 1, R, R], got {list(noise.shape)}")
    for offset in latent.offsets or ():
        good = offset.ndim == 2 and offset.shape[0] in (1, rows)
        if not good or 0 in offset.shape or offset.dtype != torch.float32:
            raise ValueError(
                f"offsets: expected float32 [1 or {rows}, channels], got {_describe_tensor(offset)}"
            )
    cameras, wanted = latent.cameras, (rows, _CAMERA_NUMBERS)
    if cameras is not None and (tuple(cameras.shape) != wanted or cameras.dtype != torch.float32):
        raise ValueError(
            f"cameras: expected float32 {list(wanted)}, got {_describe_tensor(cameras)}"
        )


def _rows(tensors: tuple[Tensor, ...] | None, start: int, stop: int) -> tuple[Tensor, ...] | None:
    if tensors is None:
        return None
    return tuple(t if len(t) == 1 else t[start:stop] for t in tensors)


def save_latent(path: Path | str, latent: Latent) -> None:
    """Write a latent file (.pt), atomically.

    Raises:
        GaneditError: `load_latent` would refuse the file: it is too large, or not finite. Or the
            disk fails.
    """
    noise, offsets = latent.noise, latent.offsets
    cameras = () if latent.cameras is None else (latent.cameras,)
    numbers = [latent.ws, *(noise or ()), *(offsets or ()), *cameras]
    if not all(bool(tensor.isfinite().all()) for tensor in numbers):
        raise GaneditError(f"{path}: not written, the latent holds NaN or infinite numbers")
    refuse_large(path, 4 * sum(tensor.numel() for tensor in numbers))
    content = {
        "format": _FORMAT,
        "version": _version(latent),
        "ws": plain_tensor(latent.ws),
        "space": latent.space,
        "generator": {"fingerprint": latent.fingerprint, "network": latent.network},
        "noise": None if noise is None else [plain_tensor(m) for m in noise],
        "offsets": None if offsets is None else [plain_tensor(x) for x in offsets],
        "names": list(latent.names),
        "tuning": latent.tuning,
        "alignment": [
            {"photo": one.photo, "size": list(one.size), "quad": [list(xy) for xy in one.quad]}
            for one in latent.alignment
        ],
        "cameras": None if latent.cameras is None else plain_tensor(latent.cameras),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    refuse_large(path, buffer.tell())
    write_bytes(path, buffer.getvalue())


def _version(latent: Latent) -> int:
    """Return the oldest version that can hold a latent."""
    if latent.cameras is not None:
        return _VERSION_WITH_CAMERAS
    return _VERSION if latent.offsets is None else _VERSION_WITH_OFFSETS


def check_file_size(path: Path | str, *, like: Latent, rows: int) -> None:
    """Check, before any work, that a latent will not be too large for `load_latent`.

    Args:
        path: The file, for the error.
        like: A latent whose rows are as large as those to come.
        rows: Rows to come, each with noise maps of its own if ``like`` has maps.

    Raises:
        GaneditError: It will be too large.
    """
    row = like.row(0)
    tensors = (row.ws, *(row.noise or ()), *(row.offsets or ()))
    refuse_large(path, 4 * rows * sum(tensor.numel() for tensor in tensors))


def refuse_large(path: Path | str, size: int) -> None:
    """Refuse ``size`` bytes of numbers that are too many for a latent file.

    Raises:
        GaneditError: They are.
    """
    if size > MAX_BYTES:
        raise GaneditError(
            f"{path}: {-(-size // 2**20)} MB is too large for a latent file, which may have "
            f"{MAX_BYTES // 2**20}; save fewer rows, or latents without noise maps"
        )


def plain_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor as files hold it: float32, on the CPU, of its own memory."""
    return tensor.detach().cpu().float().contiguous().clone()  # clone: save no larger storage


def load_latent(path: Path | str) -> Latent:
    """Return the latent in a file that `save_latent` wrote.

    No code in the file is ever run, and everything in it is checked.

    Raises:
        GaneditError: The file is missing, no latent, larger than 512 MB, or holds code, NaN,
            infinities or wrong shapes.
    """
    path = Path(path)
    latent = latent_of(open_torch_latents(path), path)
    if latent is None:
        raise GaneditError(f"{path}: not a latent that ganedit wrote")
    return latent


def open_torch_latents(path: Path) -> Any:
    """Return the plain data in a torch file or pickle; its tensors are still in the file.

    Raises:
        GaneditError: It is missing, something else, broken, or asks for more than plain data.
    """
    start = read_start(path, START_BYTES)
    if pickled_container(start) is None:
        raise GaneditError(f"{path}: not a latent: {kind_of(start)}")
    return open_pickled(path).trusted()


def latent_of(content: object, path: Path) -> Latent | None:
    """Return the latent in the plain data of a file; None where it is none of ours.

    Args:
        content: What the file holds; its tensors are still in it.
        path: The file, for errors and for its size.

    Raises:
        GaneditError: It is ours, but of another version, too large, incomplete or forged.
    """
    kind = content.get("format") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(kind, str) or kind != _FORMAT:
        return None
    version = content.get("version")
    if type(version) is not int or not _VERSION <= version <= _VERSION_WITH_CAMERAS:
        shown = f" {version}" if type(version) is int and abs(version) < 10**6 else ""
        raise GaneditError(
            f"{path}: latent version{shown} is unknown; this ganedit reads versions {_VERSION} to"
            f" {_VERSION_WITH_CAMERAS}"
        )
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise GaneditError(f"{path}: {size // 2**20} MB is too large for a latent")
    try:
        return _checked(content, size)
    except ValueError as error:
        raise GaneditError(f"{path}: {error}") from error


def _checked(content: dict[Any, Any], size: int) -> Latent:
    """Return the latent in a loaded dict.

    Raises:
        ValueError: Something is missing or wrong; the message says what.
    """
    generator = content.get("generator")
    if not isinstance(generator, dict):
        raise ValueError("the latent does not say which generator it belongs to")
    fingerprint, network = generator.get("fingerprint"), generator.get("network")
    if not (isinstance(fingerprint, str) and isinstance(network, str)):
        raise ValueError("the latent does not say which generator it belongs to")
    names = content.get("names", [])
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError("names: expected a list of strings")
    noise, offsets = (_checked_list(content, what) for what in ("noise", "offsets"))
    cameras = content.get("cameras")
    space = content.get("space")
    if not (isinstance(space, str) and space in ("w", "w+")):
        raise ValueError("space: expected 'w' or 'w+'")
    tuning = content.get("tuning")
    if not (tuning is None or isinstance(tuning, str)):
        raise ValueError("tuning: expected the name of a file, or none")
    stored = {
        "ws": [content.get("ws")],
        "noise": noise or [],
        "offsets": offsets or [],
        "cameras": [] if cameras is None else [cameras],
    }
    tensors: dict[str, list[Tensor]] = {what: [] for what in stored}
    for what, values in stored.items():
        for value in values:
            tensors[what].append(checked_tensor(value, what, size))
            size -= value.nbytes  # together they must fit, views included
    return Latent(
        ws=tensors["ws"][0],
        space=cast(Literal["w", "w+"], space),
        fingerprint=fingerprint,
        network=network,
        noise=None if noise is None else tuple(tensors["noise"]),
        offsets=None if offsets is None else tuple(tensors["offsets"]),
        names=tuple(names),
        tuning=tuning,
        alignment=_checked_alignment(content.get("alignment", [])),
        cameras=None if cameras is None else tensors["cameras"][0],
    )


def _checked_list(content: dict[Any, Any], what: str) -> list[Any] | None:
    """Return an entry that is a list, or None.

    Raises:
        ValueError: It is something else.
    """
    value = content.get(what)
    if not (value is None or isinstance(value, list)):
        raise ValueError(f"{what}: expected a list of tensors, or none")
    return value


def _checked_alignment(value: object) -> tuple[Alignment, ...]:
    """Return a loaded list of alignments.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, list):
        raise ValueError("alignment: expected a list")
    found = []
    for entry in value:
        if not isinstance(entry, dict):
            raise ValueError("alignment: expected a photo, a size and four corners a row")
        photo, size, quad = entry.get("photo"), entry.get("size"), entry.get("quad")
        if not isinstance(photo, str):
            raise ValueError("alignment: expected the name of a photo")
        corners = quad if isinstance(quad, list) else [None]
        numbers = [_numbers(corner) for corner in corners]
        width_height = _numbers(size)
        if not all(type(side) is int for side in width_height):
            raise ValueError("alignment: expected a size in whole pixels")
        found.append(Alignment(photo, cast(tuple[int, int], width_height), tuple(numbers)))
    return tuple(found)


def _numbers(value: object) -> tuple[float, float]:
    """Return a loaded list of two numbers."""
    good = isinstance(value, list) and len(value) == 2
    if not (good and all(type(x) in (int, float) for x in cast(list[Any], value))):
        raise ValueError("alignment: expected four corners and a size, of two numbers each")
    first, second = cast(list[float], value)
    return first, second


def checked_tensor(value: object, what: str, size: int) -> Tensor:
    """Return ``value`` as finite float32 on the CPU; ``size`` bytes bound what it may hold."""
    if not isinstance(value, StoredTensor):
        raise ValueError(f"{what}: expected a tensor, got {type(value).__name__}")
    if not value.dtype.is_floating_point:
        raise ValueError(f"{what}: expected floating point, got {value.dtype}")
    if value.cost > size:
        raise ValueError(f"{what}: {list(value.shape)} is more than the file can hold")
    numbers = value.load().float()  # of float64, what float32 cannot hold becomes infinite
    if not numbers.isfinite().all():
        raise ValueError(f"{what}: holds NaN or infinite numbers")
    return numbers


def check_latent(
    latent: Latent,
    *,
    fingerprint: str,
    num_ws: int,
    w_dim: int,
    network: str,
    noise_shapes: Sequence[tuple[int, int]] | None = None,
    style_widths: Sequence[int] | None = None,
    name: str | None = None,
) -> None:
    """Check that a latent belongs to a generator.

    Args:
        latent: The latent.
        fingerprint: Of the generator.
        num_ws: Latent vectors that the generator takes.
        w_dim: Their length.
        network: Name of the generator, for the error.
        noise_shapes: Of the generator; noise maps are not checked without.
        style_widths: Channels of the generator's style layers; offsets are not checked without.
        name: Of the latent, for the error; its first row's by default.

    Raises:
        GaneditError: It has another shape, another generator made it, or its noise maps do not fit.
    """
    name = name or (latent.names[0] if latent.names else "the latent")
    if tuple(latent.ws.shape[1:]) != (num_ws, w_dim):
        raise GaneditError(
            f"{name}: its shape is {latent.ws.shape[1]}x{latent.ws.shape[2]}, "
            f"but {network} takes {num_ws}x{w_dim}; use the generator it was made with"
        )
    if latent.fingerprint != fingerprint:
        raise GaneditError(
            f"{name}: made with another generator ({latent.network}, "
            f"{_short(latent.fingerprint)}) than {network} ({_short(fingerprint)})"
        )
    if noise_shapes is not None:
        check_noise(latent.noise, noise_shapes, name=name, network=network)
    if latent.offsets is not None and style_widths is not None:
        widths = [offset.shape[1] for offset in latent.offsets]
        if widths != list(style_widths):
            raise GaneditError(
                f"{name}: its style offsets do not fit {network}; use the generator it was made"
                " with"
            )


def check_noise(
    noise: Sequence[Tensor] | None,
    noise_shapes: Sequence[tuple[int, int]],
    *,
    name: str,
    network: str,
) -> None:
    """Check that noise maps fit a generator; having none always does.

    Args:
        noise: One a layer, each [N, 1, H, W], or None.
        noise_shapes: Of the generator, (H, W) each.
        name: Of the latent, for the error.
        network: Name of the generator, for the error.

    Raises:
        GaneditError: Their number or a size is another.
    """
    if noise is None:
        return
    if [tuple(m.shape[2:]) for m in noise] != [tuple(shape) for shape in noise_shapes]:
        raise GaneditError(
            f"{name}: its noise maps do not fit {network}; use the generator it was made with"
        )


def _is_file_name(text: str) -> bool:
    """Return whether ``text`` names a file of the same folder, on any system."""
    plain = 0 < len(text) <= _LONGEST_NAME and "\0" not in text
    return plain and text not in (".", "..") and not set(text) & set(_SEPARATORS)


def _short(fingerprint: str) -> str:
    return fingerprint.removeprefix("sha256:")[:12]


def _describe_tensor(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
