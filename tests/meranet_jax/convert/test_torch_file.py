"""Reading and writing PyTorch files; PyTorch itself compares where it is installed."""

import collections
import contextlib
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from meranet_jax.convert import tensor_pickle, torch_file
from meranet_jax.errors import UserError

ARRAYS = {
    "stem.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "stem.bias": np.array([1.5, -2], np.float32),
    "stem.num_batches_tracked": np.array(3, np.int64),
}


@pytest.fixture
def path(tmp_path):
    """A file that we have written."""
    torch_file.write(tmp_path / "a.pth", ARRAYS, '{"a": 1}')
    return tmp_path / "a.pth"


def check(arrays, expected=ARRAYS):
    assert list(arrays) == list(expected)
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_round_trip(path):
    arrays, text = torch_file.read(path)
    check(arrays)
    assert text == '{"a": 1}'


def test_equal_arrays_give_equal_bytes(path, tmp_path):
    torch_file.write(tmp_path / "b.pth", ARRAYS, '{"a": 1}')
    assert (tmp_path / "b.pth").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("options", [{}, {"mmap": True}])
def test_pytorch_reads_what_we_write(path, options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    loaded = torch.load(path, weights_only=True, **options)
    assert type(loaded) is collections.OrderedDict
    check({name: tensor.numpy() for name, tensor in loaded.items()})
    # Not a part of the other tensors, and writable
    loaded["stem.bias"] += 1


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "sequence"])
def test_we_read_what_pytorch_writes(tmp_path, zipped):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    shared = torch.arange(12.0)
    tensors = {
        "plain": torch.randn(2, 3),
        "transposed": shared.reshape(3, 4).T,
        "part": shared[5:9:2],
        "scalar": torch.tensor(2.5),
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "channels_last": torch.randn(1, 2, 3, 4, 5).to(
            memory_format=torch.channels_last_3d
        ),
        "double": torch.ones(2).double(),
        "half": torch.ones(2).half(),
        "long": torch.tensor([1 << 40]),
        "int": torch.tensor([1], dtype=torch.int32),
        "short": torch.tensor([-1], dtype=torch.int16),
        "char": torch.tensor([-1], dtype=torch.int8),
        "byte": torch.tensor([255], dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
    }
    # As state_dict() does, with attributes
    tensors = collections.OrderedDict(tensors)
    tensors._metadata = collections.OrderedDict({"": {"version": 1}})
    torch.save(tensors, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    arrays, text = torch_file.read(tmp_path / "a.pth")
    assert text is None
    check(arrays, {name: t.detach().numpy() for name, t in tensors.items()})


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_other_protocols_of_pickle(tmp_path, protocol):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pth", pickle_protocol=protocol)
    check(torch_file.read(tmp_path / "a.pth")[0], {"a": np.ones(3, np.float32)})


# The pickle of a state dict with one tensor, "a", of two numbers.
TABLE = (
    b"\x80\x02}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n("
    b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\2tQ"
    b"K\0K\2\x85K\1\x85\x89}tRs."
)
NUMBERS = np.array([1.5, -2], "<f4").tobytes()
LENGTH = struct.pack("<q", 2)  # precedes them in the older format


def as_archive(table=TABLE, numbers=NUMBERS, **members):
    """Returns a file in the format of PyTorch 1.6 and later."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in {"data.pkl": table, "data/0": numbers, **members}.items():
            archive.writestr(f"a/{name}", content)
    return file.getvalue()


def as_sequence(
    table=TABLE,
    numbers=LENGTH + NUMBERS,
    magic=0x1950A86A20F9469CFC6C,
    protocol=1001,
    little_endian=True,
    keys=("0",),
):
    """Returns a file in the older format."""
    system = {"little_endian": little_endian}
    head = b"".join(pickle.dumps(part, 2) for part in (magic, protocol, system))
    return head + table + pickle.dumps(list(keys), 2) + numbers


FORMATS = {"archive": as_archive, "sequence": as_sequence}


@pytest.mark.parametrize("of_format", FORMATS)
def test_both_formats_of_a_table(of_format, path):
    path.write_bytes(FORMATS[of_format]())
    check(torch_file.read(path)[0], {"a": np.array([1.5, -2], np.float32)})


def test_big_endian_archives(path):
    numbers = np.array([1.5, -2], ">f4").tobytes()
    path.write_bytes(as_archive(numbers=numbers, byteorder=b"big"))
    np.testing.assert_array_equal(torch_file.read(path)[0]["a"], [1.5, -2])


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


ATTACKS = {
    "posix.system": lambda proof: pickle.dumps(Call(os.system, f"mkdir {proof}"), 2),
    "__builtin__.eval": lambda proof: pickle.dumps(
        {"a": Call(eval, f"__import__('os').mkdir({str(proof)!r})")}, 2
    ),
    "builtins.eval": lambda proof: pickle.dumps(
        {"a": Call(eval, f"__import__('os').mkdir({str(proof)!r})")}, 4
    ),
    "os.mkdir": lambda proof: b"cos\nmkdir\n(V%s\ntR." % str(proof).encode(),
}


@pytest.mark.parametrize("of_format", FORMATS)
@pytest.mark.parametrize("name", ATTACKS)
def test_code_is_refused_and_not_executed(name, of_format, path, tmp_path):
    proof = tmp_path / "proof"
    attack = ATTACKS[name](proof)
    path.write_bytes(FORMATS[of_format](attack))
    with pytest.raises(UserError, match=f"asks for {name}, which is refused"):
        torch_file.read(path)
    assert not proof.exists()
    pickle.loads(attack)
    assert proof.exists()  # the pickle is as dangerous as intended


def test_code_anywhere_in_the_older_format_is_refused(path, tmp_path):
    proof = tmp_path / "proof"
    attack = ATTACKS["posix.system"](proof)
    valid = as_sequence()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, ["0"]):
        replaced = valid.replace(pickle.dumps(part, 2), attack, 1)
        assert replaced != valid
        path.write_bytes(replaced)
        with pytest.raises(UserError, match="posix.system|not a PyTorch file"):
            torch_file.read(path)
    assert not proof.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "sequence"])
def test_complete_modules_are_refused(zipped, path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for value in (torch.nn.Module(), {"model": torch.nn.Linear(1, 1)}):
        torch.save(value, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(UserError, match="asks for torch.nn.modules.* is refused"):
            torch_file.read(path)


# Changes of the table: what is replaced, by what, and the message.
TABLES = {
    "module": (
        b"torch._utils\n_rebuild_tensor_v2",
        b"torch.nn\nModule",
        "torch.nn.Mod",
    ),
    "other storage": (b"FloatStorage", b"BFloat16Storage", "asks for torch.BFloat16"),
    "a function as storage": (
        b"ctorch\nFloatStorage",
        b"ctorch._utils\n_rebuild_parameter",
        "not a storage",
    ),
    "no storage": (b"storagec", b"modulesc", "not a storage"),
    "shape beyond the storage": (b"K\2\x85", b"K\3\x85", "exceeds its storage of 2"),
    "offset beyond the storage": (b"QK\0", b"QK\1", "exceeds its storage of 2"),
    "stride beyond the storage": (
        b"K\1\x85\x89",
        b"K\2\x85\x89",
        "exceeds its storage",
    ),
    "repeated numbers": (
        b"K\2\x85K\1\x85",
        b"J\0\0\0\x40\x85K\0\x85",
        "exceeds its storage",
    ),
    "negative offset": (b"QK\0", b"QJ\xff\xff\xff\xff", "are not numbers"),
    "negative stride": (
        b"K\1\x85\x89",
        b"J\xff\xff\xff\xff\x85\x89",
        "are not numbers",
    ),
    "axes": (b"K\2\x85", b"K\1K\2\x86", "are not numbers"),
    "text as shape": (b"K\2\x85", b"X\1\0\0\0a\x85", "are not numbers"),
    "empty": (b"K\2\x85", b"K\0\x85", "a tensor without elements"),
    "storage of another length": (b"cpuK\2", b"cpuK\3", "does not have"),
    "huge storage": (b"cpuK\2", b"cpuJ\xff\xff\xff\x7f", "does not have"),
    "negative storage": (b"cpuK\2", b"cpuJ\xff\xff\xff\xff", "not a storage"),
    "storage of another key": (
        b"\0\0\0000X\3",
        b"\0\0\0001X\3",
        "are missing|not those",
    ),
    "call of a dict": (b"}tRs", b"}t}Rs", "damaged|calls something"),
    "number as entry": (b"tRs.", b"tR0K\1s.", "opcode POP, which is refused"),
    "no tensor": (b"tRs.", b"tRX\1\0\0\0b)\x86\x85.", "has a tuple, not a state dict"),
    "entry that is not a tensor": (
        b"s.",
        b"sX\1\0\0\0bK\1s.",
        "entry 'b' is not a ten",
    ),
    "name that is not a string": (b"X\1\0\0\0ac", b"K\1c", "entry '1' is not a tensor"),
    "key that is a tuple": (b"X\1\0\0\0ac", b")c", "a key of type tuple"),
    "unfinished": (b"s.", b"", "exhausted|damaged|refused"),
    "empty stack": (b"s.", b"sssss.", "damaged|is expected"),
    "memo": (b"s.", b"h\7s.", "damaged"),
    "mark": (b"s.", b"sts.", "damaged"),
    "instance": (b"s.", b"(ios\nsystem\ns.", "opcode INST, which is refused"),
    "new object": (b"s.", b"ccollections\nOrderedDict\n)\x81s.", "opcode NEWOBJ"),
    "attribute of a function": (
        b"s.",
        b"sctorch._utils\n_rebuild_parameter\n}b.",
        "a _Global where a dict",
    ),
    "extension": (b"s.", b"\x82\1s.", "opcode EXT1"),
    "append to a dict": (b"s.", b"sK\1a.", "a dict where a list is expected"),
}


@pytest.mark.parametrize("of_format", FORMATS)
@pytest.mark.parametrize("case", TABLES)
def test_other_tables_are_refused(case, of_format, path):
    old, new, message = TABLES[case]
    assert TABLE.count(old) == 1
    path.write_bytes(FORMATS[of_format](TABLE.replace(old, new)))
    with pytest.raises(UserError, match=message):
        torch_file.read(path)


def test_two_types_of_a_storage_are_refused(path):
    second = TABLE[3:-1].replace(b"FloatS", b"IntS").replace(b"ac", b"bc", 1)
    path.write_bytes(as_archive(TABLE[:-1] + second + b"."))
    with pytest.raises(UserError, match="storage 0 is named with two types or lengths"):
        torch_file.read(path)


def test_tensors_of_one_storage_are_views(path):
    """Many tensors of a large storage need no memory."""
    entries = b"".join(
        TABLE[3:-1].replace(b"X\1\0\0\0ac", b"X\4\0\0\0%04dc" % number)
        for number in range(100)
    )
    path.write_bytes(as_archive(TABLE[:3] + entries + b"."))
    arrays, _ = torch_file.read(path)
    assert len(arrays) == 100
    assert np.shares_memory(arrays["0000"], arrays["0099"])


OTHER_FILES = {
    "empty": (b"", "not a PyTorch file"),
    "text": (b"hello", "not a PyTorch file"),
    "another pickle": (pickle.dumps({"a": 1}), "not a PyTorch file"),
    "magic": (as_sequence(magic=1), "not a PyTorch file"),
    "protocol": (as_sequence(protocol=1002), "an unknown version"),
    "big-endian": (as_sequence(little_endian=False), "not little-endian"),
    "keys": (as_sequence(keys=("0", "1")), "storages are not those of its tensors"),
    "keys of numbers": (as_sequence(keys=(0,)), "storages are not those of its tens"),
    "length": (as_sequence(numbers=struct.pack("<q", 3) + NUMBERS), "may be truncated"),
    "further content": (as_sequence() + b"0", "further content after its tensors"),
    "no data.pkl": (as_archive().replace(b"data.pkl", b"data.pkX"), "no data.pkl"),
    "TorchScript": (as_archive(**{"constants.pkl": b""}), "a TorchScript program"),
    "byte order": (as_archive(byteorder=b"middle"), "byte order is b'middle'"),
    "data": (as_archive(numbers=NUMBERS + b"0"), "does not have the size of 2 numbers"),
    "no data": (as_archive().replace(b"data/0", b"data/1"), "data of the storage 0"),
    "checksum": (as_archive().replace(NUMBERS, NUMBERS[::-1]), "Bad CRC-32"),
}


@pytest.mark.parametrize("case", OTHER_FILES)
def test_other_files_are_refused(case, path):
    content, message = OTHER_FILES[case]
    path.write_bytes(content)
    remedy = "Copy or download it" if case == "checksum" else "Expected a file that"
    with pytest.raises(UserError, match=f"{message}.*{remedy}"):
        torch_file.read(path)


def test_compressed_archives_are_refused(path):
    zeros = np.zeros(10**6, np.float32).tobytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", TABLE)
        archive.writestr("a/data/0", zeros)
    with pytest.raises(UserError, match="archive is compressed"):
        torch_file.read(path)


def test_members_that_overlap_are_refused(path):
    content = bytearray(as_archive(**{"data/1": b"0" * 10000}))
    # The size of data/0 in the directory at the end becomes that of data/1.
    entry = content.rindex(b"a/data/0") - 46
    content[entry + 20 : entry + 28] = struct.pack("<II", 10000, 10000)
    path.write_bytes(content)
    with pytest.raises(UserError, match="larger than the file"):
        torch_file.read(path)


def test_two_members_of_the_same_name_are_refused(path):
    with (
        zipfile.ZipFile(path, "w") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        for _ in range(2):
            archive.writestr("a/data.pkl", TABLE)
    with pytest.raises(UserError, match="two members of the same name"):
        torch_file.read(path)


def test_long_pickles_are_refused(path, monkeypatch):
    monkeypatch.setattr(tensor_pickle, "_MAX_BYTES", len(TABLE) - 1)
    path.write_bytes(as_archive())
    with pytest.raises(UserError, match="exhausted"):
        torch_file.read(path)


@pytest.mark.parametrize("of_format", FORMATS)
def test_damaged_files_are_refused(of_format, path):
    content = FORMATS[of_format]()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError):
            torch_file.read(path)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(content)
        for position in rng.integers(len(content), size=2):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):  # any other exception fails the test
            torch_file.read(path)


def test_missing_files_and_folders_are_reported(tmp_path):
    with pytest.raises(UserError, match="There is no file .*b.pth"):
        torch_file.read(tmp_path / "b.pth")
    with pytest.raises(UserError, match="Cannot read .*directory"):
        torch_file.read(tmp_path)
