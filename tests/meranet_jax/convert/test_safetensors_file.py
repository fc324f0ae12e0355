import contextlib
import json
import struct

import numpy as np
import pytest

from meranet_jax.convert import safetensors_file
from meranet_jax.errors import UserError

ARRAYS = {
    "params/head/bias": np.array([1.5, -2], np.float32),
    "params/head/kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "scalar": np.array(3, np.int32),
}


@pytest.fixture
def path(tmp_path):
    safetensors_file.write(tmp_path / "a.safetensors", ARRAYS, '{"ä": 1}')
    return tmp_path / "a.safetensors"


def check(arrays):
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_round_trip(path):
    arrays, text = safetensors_file.read(path)
    check(arrays)
    assert text == '{"ä": 1}'


def test_bytes_of_the_format(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors_file.write(path, {"a": np.array([[1, 2]], np.float32)}, "x")
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert length % 8 == 0
    assert json.loads(content[8 : 8 + length]) == {
        "__metadata__": {"metadata": "x"},
        "a": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
    }
    assert content[8 + length :] == struct.pack("<2f", 1, 2)


def test_the_package_safetensors_reads_the_file(path, tmp_path):
    package = pytest.importorskip("safetensors.numpy", reason="is not installed")
    check(package.load_file(path))
    contiguous = {name: array.copy(order="C") for name, array in ARRAYS.items()}
    package.save_file(contiguous, tmp_path / "b.safetensors", {"metadata": "x"})
    arrays, text = safetensors_file.read(tmp_path / "b.safetensors")
    check(arrays)
    assert text == "x"


def file_of(table, numbers=b"\0" * 8):
    """Returns a file with a table, which is JSON or a value."""
    header = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + numbers


def entry(begin=0, end=8, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


REFUSED = {
    "empty": b"",
    "longer table": struct.pack("<Q", 1 << 60) + b"{}",
    "no JSON": file_of(b"{"),
    "deep JSON": file_of(b"[" * 100000),
    "list": file_of([]),
    "same name": file_of(b'{"a": 1, "a": 2}'),
    "metadata": file_of({"__metadata__": {"metadata": 1}, "a": entry()}),
    "list as metadata": file_of({"__metadata__": [], "a": entry()}),
    "type": file_of({"a": entry(dtype="BF16")}),
    "shape": file_of({"a": entry(shape=(3,))}),
    "negative": file_of({"a": entry(shape=(-1, -2))}),
    "fraction": file_of({"a": entry(shape=(2.0,))}),
    "huge": file_of({"a": entry(end=1 << 62, shape=(1 << 60,))}),
    "gap": file_of({"a": entry(begin=4, shape=(1,))}),
    "overlap": file_of({"a": entry(), "b": entry()}),
    "no entry": file_of({"a": 1}),
    "no offsets": file_of({"a": {"dtype": "F32", "shape": [2]}}),
    "text as offset": file_of({"a": entry(end="8")}),
    "truncated": file_of({"a": entry()}, b"\0" * 7),
    "further content": file_of({"a": entry()}, b"\0" * 9),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_content_is_refused(case, path):
    path.write_bytes(file_of({"a": entry()}))
    assert safetensors_file.read(path)[0]["a"].shape == (2,)
    path.write_bytes(REFUSED[case])
    with pytest.raises(UserError, match="Cannot use .* Expected a safetensors file"):
        safetensors_file.read(path)


def test_damaged_files_are_refused(path):
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(1000):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):  # any other exception fails the test
            safetensors_file.read(path)


def test_types_that_the_format_does_not_have(tmp_path):
    with pytest.raises(UserError, match="a has the type complex128"):
        safetensors_file.write(tmp_path / "a", {"a": np.ones(1, complex)}, "")
    assert not list(tmp_path.iterdir())
