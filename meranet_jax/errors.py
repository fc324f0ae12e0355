"""Exceptions for errors in a user's flags, files or data.

The programs print the message without a traceback and exit with a non-zero status.
"""


class UserError(Exception):
    """A flag, a file or a run that cannot be used.

    The message says what was found, what was expected and what to do.
    """


class DataError(UserError):
    """A data set on disk, or a flag that describes it, that cannot be used."""
