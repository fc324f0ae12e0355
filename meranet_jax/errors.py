"""Exceptions for errors in a user's flags, files or data.

The programs print the message without a traceback and exit with a non-zero status.
"""

import errno

_ADVICE = {
    errno.EACCES: "Choose another folder, or change the permissions of this one.",
    errno.EPERM: "Choose another folder, or change the permissions of this one.",
    errno.EROFS: "Choose another folder.",
    errno.ENOSPC: "Free some space, or choose another folder.",
    errno.EDQUOT: "Free some space, or choose another folder.",
}


class UserError(Exception):
    """A flag, a file or a run that cannot be used.

    The message says what was found, what was expected and what to do.
    """


class DataError(UserError):
    """A data set on disk, or a flag that describes it, that cannot be used."""


def explain(error: UserError | OSError) -> str:
    """Returns the message that the programs print for an error.

    Args:
      error: that stopped the program. Of an ``OSError`` the message says why, what to
        do and, if the error names it, which file cannot be used.
    """
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    file = error.filename2 or error.filename
    if file is None:
        advice = _ADVICE.get(error.errno or 0)
        return f"{error.strerror}.{f' {advice}' if advice else ''}"
    advice = _ADVICE.get(error.errno or 0, "Check the path and its folder.")
    return f"Cannot read or write {file}: {error.strerror}. {advice}"
