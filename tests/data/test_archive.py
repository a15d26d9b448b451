import errno
import zipfile

import pytest
import torch

from ganedit.data.archive import (
    Picture,
    clay_pictures,
    clay_processes,
    user_pictures,
    write_archive,
)
from ganedit.data.dataset import ImageDataset
from ganedit.errors import GaneditError
from ganedit.io import to_uint8


def picture(level: float = 0.0, **facts) -> Picture:
    return Picture(torch.full((1, 3, 8, 8), level), **facts)


def test_the_dataset_reads_what_the_archive_holds(tmp_path):
    heads = list(clay_pictures(count=3, seed=2, resolution=16))
    write_archive(tmp_path / "a.zip", heads)
    dataset = ImageDataset(tmp_path / "a.zip")
    assert len(dataset) == 3
    assert dataset.resolution == 16
    expected = torch.cat([head.image for head in heads])
    assert torch.equal(to_uint8(dataset.batch(torch.arange(3))), to_uint8(expected))
    torch.testing.assert_close(dataset.labels, torch.tensor([head.label for head in heads]))


def test_a_head_depends_on_its_own_seed_only():
    together = list(clay_pictures(count=5, seed=3, resolution=16, batch_size=4))
    alone = next(clay_pictures(count=1, seed=7, resolution=16))
    torch.testing.assert_close(together[4].image, alone.image, atol=1e-5, rtol=0)
    assert together[4].factors == alone.factors


def test_labels_are_stored_only_when_all_have_them(tmp_path):
    made = write_archive(tmp_path / "a.zip", [picture(label=[1.0]), picture()])
    assert (made.pictures, made.labelled) == (2, 1)
    assert ImageDataset(tmp_path / "a.zip").labels is None


def test_class_numbers_come_back_one_hot(tmp_path):
    path, again = tmp_path / "a.zip", tmp_path / "b.zip"
    write_archive(path, [picture(label=label) for label in (3, 0, 1)])
    write_archive(again, user_pictures(path, resolution=8, on_bad=print))
    for archive in (path, again):
        assert ImageDataset(archive).labels.tolist() == [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]]


def test_no_pictures_leave_no_file(tmp_path):
    with pytest.raises(GaneditError, match="no pictures"):
        write_archive(tmp_path / "a.zip", [])
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_the_middle_leaves_no_file(tmp_path):
    def failing():
        yield picture()
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(GaneditError, match="no space left"):
        write_archive(tmp_path / "a.zip", failing())
    assert list(tmp_path.iterdir()) == []


def test_our_own_archives_are_replaced_and_others_are_not(tmp_path):
    path = tmp_path / "a.zip"
    write_archive(path, [picture()])
    assert write_archive(path, [picture(), picture()]).pictures == 2
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mine.txt", "mine")
    with pytest.raises(GaneditError, match="not written by ganedit"):
        write_archive(path, [picture()])
    assert write_archive(path, [picture()], overwrite=True).pictures == 1


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_zip_is_one_line(tmp_path, seed):
    path = tmp_path / "a.zip"
    write_archive(path, [picture(level) for level in (-1.0, 0.0, 1.0)])
    content = bytearray(path.read_bytes())
    random = torch.Generator().manual_seed(seed)
    for spot in torch.randint(len(content), (12,), generator=random).tolist():
        content[spot] ^= 0xFF
    path.write_bytes(content)
    bad = []
    try:
        good = list(
            user_pictures(path, resolution=8, on_bad=lambda name, reason: bad.append(reason))
        )
        assert len(good) + len(bad) <= 3
    except GaneditError as error:
        bad.append(str(error))
    assert all("\n" not in reason for reason in bad)


@pytest.mark.slow
def test_processes_change_no_bit():
    alone = list(clay_pictures(count=10, seed=5, resolution=16, batch_size=4))
    seen = []
    spread = clay_pictures(
        count=10,
        seed=5,
        resolution=16,
        batch_size=4,
        processes=2,
        on_step=lambda *step: seen.append(step[:2]),
    )
    for one, other in zip(alone, spread, strict=True):
        assert torch.equal(one.image, other.image)
        assert (one.label, one.factors, one.caption) == (other.label, other.factors, other.caption)
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_few_heads_start_no_processes():
    assert clay_processes(64, 64) == 1
    assert 1 <= clay_processes(10**6, 64) <= 16
