"""Moving pictures: H.264 in MP4, and animated GIF."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import av.error
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ganedit.errors import GaneditError
from ganedit.io.files import write_atomic
from ganedit.io.images import to_uint8


def write_video(path: Path | str, frames: Iterable[Tensor], *, fps: int = 30) -> None:
    """Write an MP4 that plays everywhere: H.264, yuv420p, even sides.

    An odd side is made even by repeating its last line of pixels.

    Args:
        path: The .mp4 file; written atomically.
        frames: Each [1, 3, H, W] in [-1, 1], all of one size; consumed one by one.
        fps: Frames a second.
    """

    def write(partial: Path) -> None:
        try:
            _encode(partial, frames, fps)
        except av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error

    _check_suffix(path, ".mp4")
    write_atomic(path, write)


def _encode(path: Path, frames: Iterable[Tensor], fps: int) -> None:
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = None
        for pixels in _even_frames(frames):
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options={"crf": "16"})
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(pixels.numpy(), format="rgb24")
            container.mux(stream.encode(frame))
        if stream is None:
            raise ValueError("frames: expected at least one")
        container.mux(stream.encode(None))


def _even_frames(frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield uint8 [H, W, 3] with even H and W."""
    first = None
    for frame in frames:
        first = first or tuple(frame.shape)
        if tuple(frame.shape) != first or len(frame) != 1:
            raise ValueError(f"frames: expected {list(first)} each, got {list(frame.shape)}")
        odd_bottom, odd_right = frame.shape[2] % 2, frame.shape[3] % 2
        yield to_uint8(functional.pad(frame, (0, odd_right, 0, odd_bottom), mode="replicate"))[0]


def write_gif(path: Path | str, frames: Iterable[Tensor], *, fps: int = 25) -> None:
    """Write an animated GIF that loops for ever, with a palette a frame.

    Args:
        path: The .gif file; written atomically.
        frames: Each [1, 3, H, W] in [-1, 1], all of one size.
        fps: Frames a second; GIF counts in hundredths of a second, so at most 50 are kept.
    """
    pictures = [
        Image.fromarray(to_uint8(frame)[0].numpy()).quantize(256, dither=Image.Dither.NONE)
        for frame in frames
    ]
    if not pictures:
        raise ValueError("frames: expected at least one")
    hundredths = max(2, round(100 / fps))

    def write(partial: Path) -> None:
        pictures[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=10 * hundredths,
            loop=0,
            disposal=1,
        )

    _check_suffix(path, ".gif")
    write_atomic(path, write)


def _check_suffix(path: Path | str, suffix: str) -> None:
    if Path(path).suffix.lower() != suffix:
        raise GaneditError(f"{path}: the name must end in {suffix}")
