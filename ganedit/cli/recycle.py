"""``ganedit recycle``."""


def recycle() -> None:
    """Not there yet.

    Example: ganedit recycle
    """
