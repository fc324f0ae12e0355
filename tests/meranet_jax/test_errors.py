"""Messages of the programs for errors of the operating system."""

from pathlib import Path

import pytest

from meranet_jax.errors import UserError, explain, explain_out_of_memory
from meranet_jax.files import atomic_write, write_json


def test_errors_of_the_operating_system_name_the_file_and_what_to_do(tmp_path):
    with pytest.raises(OSError) as missing:
        write_json(tmp_path / "no" / "a.json", 1)
    assert explain(missing.value) == (
        f"Cannot read or write {tmp_path}/no/a.json: No such file or directory. Check "
        "the path and its folder."
    )
    denied = PermissionError(13, "Permission denied", "/a")
    assert explain(denied).endswith("change the permissions of this one.")
    full = OSError(28, "No space left on device")
    assert explain(full) == (
        "No space left on device. Free some space, or choose another folder."
    )
    assert explain(BrokenPipeError(32, "Broken pipe")) == "Broken pipe."
    with pytest.raises(OSError) as unwritten, atomic_write(tmp_path / "b"):
        raise full
    assert explain(unwritten.value).startswith(f"Cannot read or write {tmp_path}/b: No")
    assert explain(OSError("a library's own message")) == "a library's own message"
    assert explain(UserError("x")) == "x"


@pytest.mark.parametrize(
    "text",
    [
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.\nMore",
        "INTERNAL: failed call to cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY",
        "FAILED_PRECONDITION: DNN library initialization failed. Look at the errors",
        "INTERNAL: Failed to create handle: CUBLAS_STATUS_NOT_INITIALIZED",
    ],
)
def test_too_little_memory_is_explained(text):
    message = explain_out_of_memory(RuntimeError(text), "Choose a smaller batch.")
    first, advice, of_gpu = message.splitlines()
    assert text.splitlines()[0] in first and advice == "Choose a smaller batch."
    assert "reserves 75 % of the memory" in of_gpu
    assert "XLA_PYTHON_CLIENT_PREALLOCATE=false" in of_gpu
    assert (Path(__file__).parents[2] / "docs/gpu-memory.md").exists()


def test_other_errors_are_not_explained_by_memory():
    assert explain_out_of_memory(ValueError("Expected a matrix")) is None
