from pathlib import Path

import av
import pytest
import torch
from PIL import Image

from ganedit.errors import GaneditError
from ganedit.io import write_gif, write_video


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def frames(count: int, height: int = 33, width: int = 47) -> list[torch.Tensor]:
    steps = torch.linspace(-1, 1, count)
    return [torch.full((1, 3, height, width), float(step)) for step in steps]


def test_a_video_is_h264_yuv420p_with_even_sides_and_all_frames(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, iter(frames(7)), fps=24)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (48, 34)
        assert stream.average_rate == 24
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 7
    assert decoded[0].max() < 20
    assert decoded[-1].min() > 235


def test_a_gif_loops_and_keeps_time(tmp_path):
    path = tmp_path / "a.gif"
    write_gif(path, frames(5), fps=20)
    with Image.open(path) as picture:
        assert picture.n_frames == 5
        assert picture.info["duration"] == 50
        assert picture.info["loop"] == 0


@pytest.mark.parametrize("write", [write_video, write_gif])
def test_no_frames_leave_no_file(tmp_path, write):
    suffix = ".mp4" if write is write_video else ".gif"
    with pytest.raises(ValueError, match="frames"):
        write(tmp_path / f"a{suffix}", [])
    assert names(tmp_path) == []


def test_a_broken_stream_of_frames_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="frames: expected"):
        write_video(tmp_path / "a.mp4", [*frames(3), torch.zeros(1, 3, 8, 8)])
    assert names(tmp_path) == []


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(GaneditError, match=r"\.mp4"):
        write_video(tmp_path / "a.avi", frames(2))


def test_a_failing_disk_is_one_line(tmp_path, monkeypatch):
    def fail(*_args, **_settings):
        raise av.error.FFmpegError(28, "No space left on device")

    monkeypatch.setattr(av, "open", fail)
    with pytest.raises(GaneditError, match="no space left"):
        write_video(tmp_path / "a.mp4", frames(2))
