"""``ganedit factorize``."""


def factorize() -> None:
    """Not there yet.

    Example: ganedit factorize
    """
