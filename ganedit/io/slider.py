"""A page that shows one picture before and after: a single HTML file, for any browser."""

import base64
import html
from pathlib import Path

from torch import Tensor

from ganedit.io.files import write_bytes
from ganedit.io.images import encode_image

_LONGEST_TEXT = 300

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ground: #f4f4f2; --ink: #1c1c1c; --quiet: #5a5a5a; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ground: #161616; --ink: #ececec; --quiet: #a6a6a6; }}
}}
* {{ box-sizing: border-box; }}
body {{
  margin: 0; min-height: 100vh; padding: 1rem; display: grid; place-content: center;
  background: var(--ground); color: var(--ink); font: 1rem/1.4 system-ui, sans-serif;
}}
main {{ --at: 50%; width: min(100vw - 2rem, 45rem, (100vh - 11rem) * {ratio}); min-width: 15rem; }}
h1 {{ margin: 0 0 .75rem; font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; }}
#pair {{
  position: relative; overflow: hidden; border-radius: .5rem; cursor: ew-resize;
  touch-action: pan-y; user-select: none; -webkit-user-select: none;
}}
#pair img {{ display: block; width: 100%; height: auto; pointer-events: none; }}
#pair img + img {{ position: absolute; inset: 0; height: 100%; clip-path: inset(0 0 0 var(--at)); }}
#line {{
  position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 3px #000a; pointer-events: none;
}}
#line::after {{
  content: "\\2194"; position: absolute; top: 50%; left: 50%; width: 2rem; height: 2rem;
  transform: translate(-50%, -50%); border-radius: 50%; background: #fff; color: #1c1c1c;
  box-shadow: 0 0 4px #0008; font: 1.1rem/2rem system-ui, sans-serif; text-align: center;
}}
label {{ display: flex; align-items: center; gap: .75rem; margin-top: .75rem; }}
label span {{ color: var(--quiet); max-width: 35%; overflow-wrap: anywhere; }}
input {{ flex: 1; min-width: 4rem; height: 2rem; margin: 0; }}
p {{ margin: .5rem 0 0; color: var(--quiet); font-size: .875rem; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<main id="view">
<h1>{title}</h1>
<div id="pair">
<img alt="{before}" src="data:image/png;base64,{before_picture}">
<img alt="{after}" src="data:image/png;base64,{after_picture}">
<div id="line"></div>
</div>
<label><span>{before}</span>
<input id="place" type="range" min="0" max="100" step="1" value="50"
 aria-label="Where the two pictures meet, from the left">
<span>{after}</span></label>
{note}</main>
<script>
const view = document.getElementById("view");
const pair = document.getElementById("pair");
const place = document.getElementById("place");
const show = () => view.style.setProperty("--at", place.value + "%");
const follow = (event) => {{
  const box = pair.getBoundingClientRect();
  place.value = 100 * (event.clientX - box.left) / box.width;
  show();
}};
place.addEventListener("input", show);
pair.addEventListener("pointerdown", (event) => {{
  pair.setPointerCapture(event.pointerId);
  follow(event);
}});
pair.addEventListener("pointermove", (event) => {{ if (event.buttons) follow(event); }});
show();
</script>
</body>
</html>
"""


def write_slider(
    path: Path | str,
    before: Tensor,
    after: Tensor,
    *,
    title: str,
    captions: tuple[str, str] = ("before", "after"),
    note: str = "",
) -> None:
    """Write a page with a divider between two pictures that mouse, touch and keys move.

    The file is whole: pictures, style and script are in it, and it may fetch nothing.

    Args:
        path: The .html file; written atomically.
        before: Shown left of the divider, [1, 3, H, W] in [-1, 1].
        after: Shown right of it, of the same shape.
        title: Plain text, from anywhere.
        captions: Of the two pictures.
        note: A line below them; none when empty.
    """
    if before.shape != after.shape or len(before) != 1:
        raise ValueError(
            f"pictures: expected two of [1, 3, H, W], got {list(before.shape)} and"
            f" {list(after.shape)}"
        )
    page = _PAGE.format(
        title=_text(title),
        before=_text(captions[0]),
        after=_text(captions[1]),
        note=f"<p>{_text(note)}</p>\n" if note else "",
        ratio=f"{before.shape[3] / before.shape[2]:.4f}",
        before_picture=base64.b64encode(encode_image(before)).decode("ascii"),
        after_picture=base64.b64encode(encode_image(after)).decode("ascii"),
    )
    write_bytes(Path(path), page.encode("utf-8"))


def _text(text: str) -> str:
    """Return a text as one line of HTML that cannot be markup."""
    line = " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())
    return html.escape(line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "…")
