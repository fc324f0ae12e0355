"""The two exceptions that a user's flags, files or data can cause.

Programs print their text and end with a non-zero code, without a traceback.
"""


class UserError(Exception):
    """A flag, a file or a run that cannot be used.

    Its text says what was found, what was expected and what to do.
    """


class DataError(UserError):
    """A data set on disk, or a flag about it, that cannot be used."""
