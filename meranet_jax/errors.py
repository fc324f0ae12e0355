"""Exceptions for errors in a user's flags, files or data, and other messages.

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


# Parts of messages of XLA and of libraries of CUDA, which fail in these ways where
# there is no memory left for them.
_OUT_OF_MEMORY = (
    "RESOURCE_EXHAUSTED",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "STATUS_ALLOC_FAILED",
)
_NO_MEMORY_FOR_LIBRARIES = (
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUSOLVER_STATUS_NOT_INITIALIZED",
    "DNN library initialization failed",
)


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


def explain_out_of_memory(error: Exception, advice: str = "") -> str | None:
    """Returns a message on an error for lack of memory; None for other errors.

    Args:
      error: raised by JAX.
      advice: how this program needs less memory, one sentence.
    """
    text = str(error)
    if any(part in text for part in _NO_MEMORY_FOR_LIBRARIES):
        reason = "A library of CUDA could not start, most often for lack of memory"
        text = f"{reason}: {text.splitlines()[0]}"
    elif any(part in text for part in _OUT_OF_MEMORY):
        text = text.splitlines()[0]
    else:
        return None
    of_gpu = (
        "On a GPU, JAX reserves 75 % of the memory when it starts, and fails if other "
        "programs use it, too (nvidia-smi lists them). XLA_PYTHON_CLIENT_PREALLOCATE="
        "false takes memory as it is needed, XLA_CLIENT_MEM_FRACTION=.40 reserves "
        "another part: docs/gpu-memory.md."
    )
    return "\n".join(filter(None, [text, advice, of_gpu]))
