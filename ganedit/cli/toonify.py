"""``ganedit toonify``."""


def emojify() -> None:
    """Not there yet.

    Example: ganedit emojify
    """


def toonify() -> None:
    """Not there yet.

    Example: ganedit toonify
    """
