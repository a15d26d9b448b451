"""``ganedit metrics``."""


def ppl() -> None:
    """Not there yet.

    Example: ganedit ppl
    """


def disentanglement() -> None:
    """Not there yet.

    Example: ganedit disentanglement
    """
