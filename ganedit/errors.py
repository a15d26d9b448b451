"""The one exception that users see: the CLI prints it as a single line and exits with 1."""


class GaneditError(Exception):
    """Something the user can fix.

    The message is one sentence that says what was got, what is wanted and what to do, for
    instance ``"photo.jpg: no face found; try --no-align"``. Programming errors are
    ``ValueError`` or ``TypeError`` instead.
    """
