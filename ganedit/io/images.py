"""Pictures in files and in memory; the only place where 8-bit pixels exist.

Everywhere else images are float32 [N, 3, H, W], RGB, in [-1, 1].
"""

import io
import math
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.files import write_bytes

MAX_PIXELS = 2**27  # 134 megapixels: above today's 108-megapixel phones, below a memory bomb

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff"}
    | {".webp"}
)

# An allow-list, because Pillow also opens formats that start other programs (EPS).
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "MPO")

# What Pillow's decoders raise on hostile bytes, besides OSError.
_BROKEN = (
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)

_SAVE_SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 6}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"lossless": True}),
}


# Reading


def read_image(path: Path | str, *, backdrop: Literal["white", "black"] = "white") -> Tensor:
    """Return the picture in a file, upright and in RGB.

    Any size, mode and EXIF orientation; 16-bit grey keeps its precision, and of an animation the
    first frame is taken.

    Args:
        path: PNG, JPEG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000 or AVIF.
        backdrop: What shows through transparent parts.

    Returns:
        float32 [1, 3, H, W] in [-1, 1].

    Raises:
        GaneditError: The file is missing, empty, broken, no picture, or larger than 134 megapixels
            (told from its header, before anything is decoded).
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            return _decode(stream, str(path), backdrop)
    except FileNotFoundError as error:
        raise GaneditError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise GaneditError(f"{path}: is a folder, not a picture") from error
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error


def looks_like_picture(path: Path) -> bool:
    """Return whether a file starts like a picture that `read_image` knows, whatever its name."""
    Image.init()
    formats = [format_ for format_ in _FORMATS if format_ in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=formats):
                return True
    except Image.DecompressionBombError:
        return True
    except (OSError, *_BROKEN):
        return False


def decode_image(content: bytes, *, name: str) -> Tensor:
    """Return the picture in ``content``, as `read_image` does; ``name`` is used in errors."""
    return _decode(io.BytesIO(content), name)


def _decode(stream: Any, name: str, backdrop: str = "white") -> Tensor:
    if not stream.read(1):
        raise GaneditError(f"{name}: the file is empty")
    stream.seek(0)
    Image.init()
    formats = [format_ for format_ in _FORMATS if format_ in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(stream, formats=formats) as picture:
                _check_size(picture.width, picture.height, name)
                return _to_tensor(picture, name, backdrop)
    except Image.DecompressionBombError as error:
        raise GaneditError(f"{name}: {_too_large()}") from error
    except UnidentifiedImageError as error:
        raise GaneditError(f"{name}: not a picture that ganedit reads (PNG, JPEG, …)") from error
    except (OSError, *_BROKEN) as error:
        raise GaneditError(f"{name}: the picture is broken or incomplete") from error


def _check_size(width: int, height: int, name: str) -> None:
    if width == 0 or height == 0:
        raise GaneditError(f"{name}: the picture has no pixels ({width}x{height})")
    if width * height > MAX_PIXELS:
        raise GaneditError(f"{name}: {width}x{height} is {_too_large()}")


def _too_large() -> str:
    return f"more than {MAX_PIXELS // 10**6} megapixels; make it smaller first"


def _to_tensor(picture: Image.Image, name: str, backdrop: str) -> Tensor:
    """Return [1, 3, H, W] in [-1, 1] for a picture of any mode."""
    upright: Image.Image = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I") or upright.mode == "F":
        grey = _high_range(upright, name)  # [H, W] in [0, 1]
        return (grey * 2 - 1).expand(1, 3, -1, -1).contiguous()
    if upright.has_transparency_data:
        coloured = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", coloured.size, backdrop), coloured)
    return from_uint8(np.asarray(upright.convert("RGB")))


def _high_range(picture: Image.Image, name: str) -> Tensor:
    """Return [H, W] in [0, 1] for 16-bit grey, or float grey that is already in [0, 1]."""
    values = torch.from_numpy(np.asarray(picture).astype(np.float32))
    top = 1.0 if picture.mode == "F" else 65535.0
    if not (values.isfinite().all() and values.min() >= 0 and values.max() <= top):
        raise GaneditError(f"{name}: 32-bit pixels outside [0, {top:g}]; save it as 8 or 16 bit")
    return values / top


# Pixels


def from_uint8(pixels: np.ndarray[Any, Any] | Tensor) -> Tensor:
    """Return float images for 8-bit pixels.

    Args:
        pixels: uint8 [N, H, W, 3] or [H, W, 3].

    Returns:
        float32 [N, 3, H, W] in [-1, 1]; N is 1 for a single picture.
    """
    values = torch.as_tensor(np.array(pixels) if isinstance(pixels, np.ndarray) else pixels)
    if values.dtype != torch.uint8 or values.ndim not in (3, 4) or values.shape[-1] != 3:
        raise ValueError(
            f"pixels: expected uint8 [N, H, W, 3] or [H, W, 3], "
            f"got {values.dtype} {list(values.shape)}"
        )
    batched = values if values.ndim == 4 else values.unsqueeze(0)
    planes = batched.permute(0, 3, 1, 2).contiguous().float()
    return planes.div_(127.5).sub_(1)  # in place: a large photo fills gigabytes


def to_uint8(images: Tensor) -> Tensor:
    """Return 8-bit pixels, rounded to the nearest level and clipped; undoes `from_uint8`.

    Args:
        images: [N, 3, H, W] in [-1, 1].

    Returns:
        uint8 [N, H, W, 3] on the CPU.
    """
    _check_images(images)
    levels = (images.detach().float() * 127.5 + 127.5).round().clamp(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images: expected [N, 3, H, W], got {list(images.shape)}")


# Shape


def to_square(image: Tensor, resolution: int) -> Tensor:
    """Return the central square, resized with an antialiased Lanczos filter.

    Args:
        image: [N, 3, H, W] in [-1, 1].
        resolution: Side of the result, in pixels.

    Returns:
        [N, 3, resolution, resolution] in [-1, 1].
    """
    _check_images(image)
    height, width = image.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[:, :, top : top + side, left : left + side]
    if side == resolution:
        return square.contiguous()
    filter_ = _lanczos_matrix(side, resolution, device=image.device)  # [resolution, side]
    return (filter_ @ (square @ filter_.mT)).clamp(-1, 1)


def resize_pixels(
    pixels: Tensor, size: tuple[int, int], *, method: Literal["bicubic", "bilinear"]
) -> Tensor:
    """Resize 8-bit pictures as Pillow does, to the bit; other libraries round differently.

    Args:
        pixels: uint8 [N, H, W, 3] on the CPU.
        size: Height and width of the result.
        method: The filter; it widens when pictures shrink.

    Returns:
        uint8 [N, height, width, 3].
    """
    height, width = size
    kind = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[method]
    rows = [Image.fromarray(row.numpy()).resize((width, height), kind) for row in pixels]
    return torch.stack([torch.from_numpy(np.array(row)) for row in rows])


def _lanczos_matrix(size: int, target: int, *, device: torch.device) -> Tensor:
    """Return the [target, size] matrix that resamples a line of pixels with Lanczos-3.

    When shrinking, the kernel is widened by the factor, so that it averages what it leaves out.
    """
    scale = size / target
    width = max(scale, 1.0)
    places = torch.arange(size, dtype=torch.float64, device=device) + 0.5
    centres = (torch.arange(target, dtype=torch.float64, device=device) + 0.5) * scale
    distance = (places - centres.unsqueeze(1)) / width  # [target, size]
    kernel = torch.sinc(distance) * torch.sinc(distance / 3) * (distance.abs() < 3)
    return (kernel / kernel.sum(1, keepdim=True)).float()


# Writing


def encode_image(image: Tensor, *, suffix: str = ".png", opacity: Tensor | None = None) -> bytes:
    """Return the bytes of an image file.

    Args:
        image: [1, 3, H, W] in [-1, 1].
        suffix: .png, .jpg, .jpeg or .webp (lossless).
        opacity: [1, 1, H, W] in [0, 1], for .png and .webp; None means opaque.
    """
    if suffix.lower() not in _SAVE_SETTINGS:
        known = ", ".join(_SAVE_SETTINGS)
        raise GaneditError(f"cannot write {suffix or 'a picture without suffix'}; use {known}")
    format_, settings = _SAVE_SETTINGS[suffix.lower()]
    buffer = io.BytesIO()
    picture = _to_picture(image)
    if opacity is not None:
        if format_ == "JPEG":
            raise GaneditError(f"cannot write transparent {suffix}; use .png or .webp")
        picture.putalpha(
            Image.fromarray(to_uint8(opacity.expand_as(image) * 2 - 1)[0, ..., 0].numpy())
        )
    picture.save(buffer, format=format_, **settings)
    return buffer.getvalue()


def write_image(path: Path | str, image: Tensor, *, opacity: Tensor | None = None) -> None:
    """Write one image, atomically, in the format that the suffix names.

    Args:
        path: Ends in .png, .jpg, .jpeg or .webp (lossless).
        image: [1, 3, H, W] in [-1, 1].
        opacity: As in `encode_image`.
    """
    path = Path(path)
    write_bytes(path, encode_image(image, suffix=path.suffix, opacity=opacity))


def _to_picture(image: Tensor) -> Image.Image:
    if len(image) != 1:
        raise ValueError(f"image: expected [1, 3, H, W], got {list(image.shape)}")
    return Image.fromarray(to_uint8(image)[0].numpy())


# Sheets


def image_grid(images: Tensor, *, columns: int) -> Tensor:
    """Return the images side by side, row by row; cells that stay empty are white.

    Args:
        images: [N, 3, H, W] in [-1, 1].
        columns: Images in a row.

    Returns:
        [1, 3, rows * H, columns * W].
    """
    _check_images(images)
    if columns < 1 or not len(images):
        raise ValueError(f"expected images and columns, got {len(images)} and {columns}")
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    cells = images.new_ones(rows * columns, channels, height, width)
    cells[:count] = images
    table = cells.unflatten(0, (rows, columns))  # [rows, columns, 3, H, W]
    sheet = table.permute(2, 0, 3, 1, 4)  # [3, rows, H, columns, W]
    return sheet.reshape(1, channels, rows * height, columns * width)


def labelled_grid(
    images: Tensor, labels: Sequence[str], *, columns: int, min_side: int = 128
) -> Tensor:
    """Return a sheet with a caption above each image.

    Args:
        images: [N, 3, H, W] in [-1, 1].
        labels: One caption an image.
        columns: Images in a row.
        min_side: Smaller images are enlarged by a whole factor to at least this width, in pixels,
            so that captions are readable.

    Returns:
        [1, 3, H', W'] on the CPU.
    """
    _check_images(images)
    if len(labels) != len(images):
        raise ValueError(f"labels: expected {len(images)}, got {len(labels)}")
    factor = max(1, math.ceil(min_side / images.shape[3]))
    large = images.detach().cpu().float()
    large = large.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    bars = [_caption(label, large.shape[3]) for label in labels]
    return image_grid(torch.cat([torch.cat(bars), large], 2), columns=columns)


def comparison_strip(target: Tensor, projection: Tensor, *, gain: float = 2.0) -> Tensor:
    """Return target, projection and their difference side by side, with captions.

    Args:
        target: [1, 3, H, W] in [-1, 1].
        projection: Of the same shape.
        gain: The difference is shown as |target - projection| times this, from black.

    Returns:
        [1, 3, H', W'] on the CPU.
    """
    target, projection = target.detach().cpu().float(), projection.detach().cpu().float()
    difference = ((target - projection).abs() * gain - 1).clamp(-1, 1)
    captions = ("target", "projection", f"difference x{gain:g}")
    pictures = torch.cat([target, projection, difference])
    return labelled_grid(pictures, captions, columns=3, min_side=256)


def _caption(text: str, width: int) -> Tensor:
    """Return a white bar [1, 3, h, width] with ``text`` in black, shortened to fit."""
    size = max(11, width // 14)
    font = ImageFont.load_default(size)
    bar = Image.new("RGB", (width, size + size // 2), "white")
    pen = ImageDraw.Draw(bar)
    shown = text
    while len(shown) > 1 and pen.textlength(shown, font=font) > width - 4:
        shown = shown.removesuffix("…")[:-1] + "…"
    pen.text((width // 2, bar.height // 2), shown, fill="black", font=font, anchor="mm")
    return from_uint8(np.asarray(bar))
