"""``ganedit directions``."""


def fit() -> None:
    """Not there yet.

    Example: ganedit fit
    """


def list_directions() -> None:
    """Not there yet.

    Example: ganedit list_directions
    """
