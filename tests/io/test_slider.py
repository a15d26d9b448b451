import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from ganedit.io import decode_image
from ganedit.io.images import from_uint8, to_uint8
from ganedit.io.slider import write_slider

HOSTILE = (
    "</title><script>alert('1')</script> \"quoted\" & <img src=http://evil.test/x>\n\x00\u202e"
)


class Page(HTMLParser):
    """What a browser would find: tags with attributes, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: dict[str, str] = {}
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_data(self, data):
        if data.strip():
            self.texts.setdefault(self.open[-1], data)

    def named(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def pictures() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [from_uint8(to_uint8(torch.rand(1, 3, 12, 8) * 2 - 1)) for _ in range(2)]


@pytest.fixture
def write(tmp_path: Path, pictures):
    def page(**settings) -> str:
        write_slider(tmp_path / "a.html", *pictures, **{"title": "smile face", **settings})
        return (tmp_path / "a.html").read_text(encoding="utf-8")

    return page


def test_both_pictures_are_in_the_page_to_the_bit(write, pictures):
    images = Page(write()).named("img")
    assert [image["alt"] for image in images] == ["before", "after"]
    for image, picture in zip(images, pictures, strict=True):
        start, _, content = image["src"].partition(",")
        assert start == "data:image/png;base64"
        assert torch.equal(decode_image(base64.b64decode(content), name="a"), picture)


def test_the_page_needs_nothing_from_elsewhere(write):
    text = write()
    assert "://" not in text
    assert not re.search(r"@import|url\(|<link|<iframe", text)
    for _, attributes in Page(text).tags:
        assert attributes.get("src", "data:").startswith("data:")
        assert "href" not in attributes
    (policy,) = [tag for tag in Page(text).named("meta") if "http-equiv" in tag]
    assert policy["content"].startswith("default-src 'none'; img-src data:;")


def test_a_prompt_is_never_markup(write):
    plain = Page(write(note="a"))
    page = Page(write(title=HOSTILE, captions=(HOSTILE, HOSTILE), note=HOSTILE))
    assert [name for name, _ in page.tags] == [name for name, _ in plain.tags]
    shown = " ".join(HOSTILE.replace("\x00", "").replace("\u202e", "").split())
    assert page.texts["title"] == page.texts["h1"] == page.texts["p"] == shown
    assert page.named("img")[0]["alt"] == shown


def test_a_text_that_is_no_unicode_is_written_without_what_is_none(write):
    assert Page(write(title="smile \udcff face")).texts["h1"] == "smile face"


def test_a_long_prompt_is_cut(write):
    assert len(Page(write(title="x" * 10_000)).texts["title"]) == 301


def test_keys_move_the_divider_through_a_range_with_a_name(write):
    (place,) = Page(write()).named("input")
    assert place["type"] == "range"
    assert place["aria-label"]


def test_the_page_without_its_pictures_is_small(write):
    assert len(re.sub(r"base64,[^\"]*", "", write()).encode()) < 10_000


def test_pictures_of_two_sizes_are_refused(tmp_path, pictures):
    with pytest.raises(ValueError, match="expected two of"):
        write_slider(tmp_path / "a.html", pictures[0], pictures[1][..., :4], title="a")
    assert not list(tmp_path.iterdir())
