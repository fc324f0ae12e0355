"""The one exception that a user's flags, files or data can cause."""


class UserError(Exception):
    """Says what was found, what was expected and what to do.

    Programs print its text and end with a non-zero code, without a traceback.
    """
