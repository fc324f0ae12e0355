"""Messages of the programs for errors of the operating system."""

import pytest

from meranet_jax.errors import UserError, explain
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
