"""``ganedit render-views``: a head from around."""

from pathlib import Path
from typing import Annotated

import typer


def render_views(
    latent: Annotated[
        Path | None, typer.Argument(help="Latent file of a tri-plane generator.")
    ] = None,
) -> None:
    """Render views of a head from around.

    Example: ganedit render-views --yaw-range 30
    """
    raise typer.BadParameter("not built yet")
