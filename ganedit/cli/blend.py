"""``ganedit blend``."""


def blend() -> None:
    """Not there yet.

    Example: ganedit blend
    """
