import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from ganedit.errors import GaneditError
from ganedit.io import (
    comparison_strip,
    decode_image,
    encode_image,
    from_uint8,
    image_grid,
    labelled_grid,
    read_image,
    to_square,
    to_uint8,
    write_image,
)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def gradient(height: int = 6, width: int = 9) -> np.ndarray:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 1] = np.linspace(255, 0, height)[:, None]
    pixels[..., 2] = 77
    return pixels


def saved(picture: Image.Image, format_: str, **settings) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=format_, **settings)
    return buffer.getvalue()


def levels(image: torch.Tensor) -> np.ndarray:
    return to_uint8(image)[0].numpy()


# Bad input


BROKEN = {
    "empty": (b"", "empty"),
    "text": (b"this is no picture at all\n" * 20, "not a picture"),
    "truncated jpeg": (saved(Image.fromarray(gradient(64, 64)), "JPEG")[:400], "broken"),
    "truncated png": (saved(Image.fromarray(gradient(64, 64)), "PNG")[:100], "broken"),
    "no pixels": (png_header(0, 5), "picture"),
    "bomb": (png_header(30000, 30000), "134 megapixels"),
    "below Pillow's limit": (png_header(13000, 12000), "13000x12000 is more than 134 megapixels"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    "huge gif": (b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0", "picture"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_bad_files_are_refused_in_one_line(tmp_path, case):
    content, reason = BROKEN[case]
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        with pytest.raises(GaneditError, match=reason) as caught:
            read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert not leaked


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(GaneditError, match="no such file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(GaneditError, match="is a folder"):
        read_image(tmp_path)


def test_a_bomb_is_refused_before_decoding(monkeypatch):
    decoded = []
    monkeypatch.setattr(Image.Image, "load", lambda *_: decoded.append(1))
    with pytest.raises(GaneditError):
        decode_image(png_header(30000, 30000), name="bomb")
    assert not decoded


def test_32_bit_pixels_of_unknown_range_are_refused():
    content = saved(Image.fromarray(np.full((2, 2), 3.5, np.float32)), "TIFF")
    with pytest.raises(GaneditError, match="32-bit pixels outside"):
        decode_image(content, name="a.tif")


# Every mode


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_keep_every_level(format_):
    settings = {"lossless": True} if format_ == "WEBP" else {}
    image = decode_image(saved(Image.fromarray(gradient()), format_, **settings), name="a")
    assert image.shape == (1, 3, 6, 9)
    assert image.dtype == torch.float32
    assert np.array_equal(levels(image), gradient())


def test_cmyk_becomes_rgb():
    content = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    assert np.abs(levels(decode_image(content, name="a"))[0, 0].astype(int) - (255, 0, 0)).max() < 9


def test_16_bit_grey_keeps_its_precision():
    values = np.array([[0, 1, 256, 32768, 65535]], np.uint16)
    image = decode_image(saved(Image.fromarray(values), "PNG"), name="a")
    expected = torch.from_numpy(values.astype(np.float32)) / 65535 * 2 - 1
    torch.testing.assert_close(image, expected.expand(1, 3, -1, -1))
    assert len(image.unique()) == 5


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (255, 0, 0, 255))
    pixels = levels(decode_image(saved(clear, "PNG"), name="a"))
    assert pixels[0].tolist() == [[255, 255, 255], [255, 0, 0]]
    half = Image.new("LA", (1, 1), (0, 128))
    assert levels(decode_image(saved(half, "PNG"), name="a"))[0].tolist() == [[127, 127, 127]]


def test_a_palette_with_alpha_is_laid_on_white():
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    pixels = levels(decode_image(saved(picture, "PNG", transparency=0), name="a"))
    assert tuple(pixels[0, 0]) == (255, 255, 255)
    assert tuple(pixels[0, 1]) == (200, 100, 50)


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(format_):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    settings = {"lossless": True} if format_ == "WEBP" else {}
    content = saved(frames[0], format_, save_all=True, append_images=frames[1:], **settings)
    pixels = levels(decode_image(content, name="a"))
    assert np.array_equal(pixels, np.broadcast_to(np.uint8([255, 0, 0]), (4, 4, 3)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation):
    upright = Image.fromarray(gradient())
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_image(saved(stored, "PNG", exif=exif), name="a")
    assert np.array_equal(levels(image), gradient())


# Pixels and shape


def test_8_bit_pixels_survive_the_round_trip():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3)
    images = from_uint8(pixels)
    assert images.min() == -1
    assert images.max() == 1
    assert torch.equal(to_uint8(images), pixels)
    assert torch.equal(
        to_uint8(images * 5)[..., 0].unique(), torch.tensor([0, 255]).byte()[:2]
    ) or (to_uint8(images * 5).max() == 255)


def test_to_square_takes_the_centre():
    image = torch.zeros(1, 3, 4, 10)
    image[..., 3:7] = 1
    assert torch.equal(to_square(image, 4), torch.ones(1, 3, 4, 4))


@pytest.mark.parametrize("size", [7, 64, 100])
def test_resizing_agrees_with_pillow(size):
    # Mid tones, because Pillow clips overshoot between its two passes and we do not.
    pixels = np.random.default_rng(0).integers(90, 166, (41, 41, 3)).astype(np.uint8)
    ours = levels(to_square(from_uint8(pixels), size)).astype(int)
    theirs = Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS)
    assert np.abs(ours - np.asarray(theirs).astype(int)).max() <= 1


def test_a_constant_picture_stays_constant_at_any_size():
    torch.testing.assert_close(
        to_square(torch.full((1, 3, 33, 50), 0.25), 8), torch.full((1, 3, 8, 8), 0.25)
    )


# Writing


@pytest.mark.parametrize("suffix", [".png", ".webp", ".PNG"])
def test_lossless_files_read_back(tmp_path, suffix):
    image = from_uint8(gradient())
    write_image(tmp_path / f"a{suffix}", image)
    assert torch.equal(read_image(tmp_path / f"a{suffix}"), image)


def test_jpeg_reads_back_nearly(tmp_path):
    image = from_uint8(gradient(32, 32))
    write_image(tmp_path / "a.jpg", image)
    assert (read_image(tmp_path / "a.jpg") - image).abs().mean() < 0.03


def test_unknown_suffixes_are_refused(tmp_path):
    with pytest.raises(GaneditError, match=r"\.png"):
        write_image(tmp_path / "a.xyz", from_uint8(gradient()))
    with pytest.raises(ValueError, match="N, 3, H, W"):
        encode_image(torch.zeros(1, 4, 2, 2))


def test_a_grid_goes_row_by_row_and_ends_white():
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 2, 2) / 4
    grid = image_grid(images, columns=2)
    assert grid.shape == (1, 3, 4, 4)
    assert torch.equal(grid[0, 0, ::2, ::2], torch.tensor([[0, 0.25], [0.5, 1.0]]))


def test_captions_stand_above_and_pictures_stay_whole():
    images = from_uint8(np.stack([gradient(16, 16)] * 3))
    sheet = labelled_grid(images, ["one", "two", "a caption that is much too long"], columns=3)
    assert sheet.shape[3] == 3 * 128
    cell = sheet[:, :, -128:, :128]
    assert torch.equal(cell[:, :, ::8, ::8], images[:1])
    bar = sheet[:, :, :-128]
    assert bar.min() < 0 < bar.max()


def test_the_difference_of_a_picture_with_itself_is_black():
    image = from_uint8(gradient(64, 64))
    strip = comparison_strip(image, image)
    assert strip[:, :, -256:, -256:].max() == -1
    other = comparison_strip(image, -image)
    assert other[:, :, -256:, -256:].max() > 0


def test_opacity_is_written_where_the_format_has_it(tmp_path):
    image = from_uint8(gradient(4, 4))
    opacity = torch.linspace(0, 1, 16).reshape(1, 1, 4, 4)
    write_image(tmp_path / "a.png", image, opacity=opacity)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "RGBA"
        alpha = np.asarray(picture)[..., 3]
    assert np.array_equal(alpha, np.round(opacity[0, 0].numpy() * 255))
    with pytest.raises(GaneditError, match=r"use \.png or \.webp"):
        write_image(tmp_path / "a.jpg", image, opacity=opacity)
