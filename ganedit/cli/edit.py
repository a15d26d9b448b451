"""``ganedit edit``."""


def edit() -> None:
    """Not there yet.

    Example: ganedit edit
    """
