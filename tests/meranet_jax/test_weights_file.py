import contextlib
import io
import json
import os
import zipfile

import numpy as np
import pytest

from meranet_jax import weights_file
from meranet_jax.errors import UserError
from meranet_jax.models.settings import MERANetSettings, architecture
from meranet_jax.weights_file import Metadata

METADATA = Metadata(
    model="resnet3d",
    settings={"width": 4, "stage_sizes": (1, 1), "shortcut": "projection"},
    input="rgb",
    frames=8,
    size=16,
    classes=("disgust", "überraschung"),
    origin="Trained on synthetic, seed 0, fold holdout.",
    datasets=("synthetic",),
    subjects=("s1", "s2"),
)


def weights():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 2, 2, 1, 4)).astype(np.float32)
    return {
        "params": {"stem": {"kernel": kernel}, "head": {"bias": np.ones(2, "f4")}},
        "batch_stats": {"norm": {"count": np.int32(3), "mean": np.zeros(0, "f4")}},
    }


@pytest.fixture
def path(tmp_path):
    """A weights file."""
    weights_file.save(tmp_path / "a.npz", weights(), METADATA)
    return tmp_path / "a.npz"


def npy(array, version=(1, 0)):
    """Returns the content of a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), version, allow_pickle=True)
    return file.getvalue()


def write(path, members, compression=zipfile.ZIP_STORED):
    """Writes an archive of members by name, and metadata if there are none."""
    metadata = {"metadata.npy": npy(METADATA.to_json())}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in (metadata | members).items():
            if content is not None:
                archive.writestr(name, content)


def test_round_trip(path):
    loaded, metadata = weights_file.load(path)
    assert metadata == METADATA
    expected, found = map(weights_file.flatten, (weights(), loaded))
    assert list(found) == [
        "batch_stats/norm/count",
        "batch_stats/norm/mean",
        "params/head/bias",
        "params/stem/kernel",
    ]
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)
    loaded["params"]["head"]["bias"] += 1  # not read-only


def test_numpy_reads_the_file(path):
    with np.load(path, allow_pickle=False) as opened:
        assert json.loads(str(opened["metadata"]))["classes"][1] == "überraschung"
        np.testing.assert_array_equal(opened["params/head/bias"], [1, 1])


def test_equal_weights_give_equal_bytes(path, tmp_path):
    backwards = {name: weights()[name] for name in reversed(weights())}
    weights_file.save(tmp_path / "b.npz", backwards, METADATA)
    assert (tmp_path / "b.npz").read_bytes() == path.read_bytes()


def test_unknown_subjects_and_later_fields(tmp_path):
    saved = json.loads(METADATA.to_json()) | {"subjects": None, "later": 1}
    write(
        tmp_path / "a.npz",
        {"metadata.npy": npy(json.dumps(saved)), "params/a.npy": npy(np.ones(1))},
    )
    assert weights_file.load(tmp_path / "a.npz")[1].subjects is None


def test_arrays_in_the_order_of_fortran_and_in_big_endian(tmp_path):
    array = np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))
    write(tmp_path / "a.npz", {"params/a.npy": npy(array)})
    loaded = weights_file.load(tmp_path / "a.npz")[0]["params"]["a"]
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype.isnative


class Executed:
    """Creates a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def changed(**fields):
    """Returns a member of metadata with changed fields; None removes a field."""
    saved = json.loads(METADATA.to_json()) | fields
    kept = {name: value for name, value in saved.items() if value != "removed"}
    return {"metadata.npy": npy(json.dumps(kept)), "params/a.npy": npy(np.ones(1))}


ONES = npy(np.ones(1))
HEADER = npy(np.ones((2, 2), np.float32))
REFUSED = {
    "no metadata": ({"metadata.npy": None, "params/a.npy": ONES}, "no metadata"),
    "no arrays": ({}, "no arrays"),
    "no array": ({"readme.txt": b"hello"}, "'readme.txt' in it is not an array"),
    "no npy file": ({"params/a.npy": b"hello"}, "magic string|expected 8 bytes"),
    "version": ({"params/a.npy": npy(np.ones(1), (2, 0))}, "another version of"),
    "metadata of numbers": ({"metadata.npy": ONES}, "metadata has the type float64"),
    "no JSON": ({"metadata.npy": npy("{"), "params/a.npy": ONES}, "Expecting prop"),
    "JSON list": ({"metadata.npy": npy("[]"), "params/a.npy": ONES}, "are a list"),
    "deep JSON": ({"metadata.npy": npy("[" * 100000)}, "recursion"),
    "missing field": (changed(origin="removed"), "the metadata have no origin"),
    "type of a field": (changed(frames="16"), "frames in the metadata is '16'"),
    "bool": (changed(size=True), "size in the metadata is True"),
    "types in a list": (changed(classes=["a", 1]), "classes in the metadata is"),
    "no classes": (changed(classes=[]), "no frames, no pixels or no classes"),
    "text": ({"params/a.npy": npy("text")}, "params/a has the type <U4"),
    "complex": ({"params/a.npy": npy(1j)}, "params/a has the type complex128"),
    "shape": ({"params/a.npy": HEADER.replace(b"(2, 2)", b"(9, 9)")}, "its shape"),
    "huge shape": (
        {"params/a.npy": HEADER.replace(b"(2, 2), }  ", b"(2, 2**60), }")},
        "Cannot parse header|malformed",
    ),
    "negative shape": (
        {"params/a.npy": HEADER.replace(b"(2, 2), } ", b"(-2, -2), }")},
        "its shape",
    ),
    "longer": ({"params/a.npy": HEADER + b"0"}, "its shape"),
    "path in path": (
        {"params/a.npy": ONES, "params/a/b.npy": ONES},
        "params/a/b continues the path",
    ),
    "path around path": (
        {"params/a/b.npy": ONES, "params/a.npy": ONES},
        "params/a is not the path",
    ),
    "empty name": ({"params//a.npy": ONES}, "params//a is not the path"),
    "infinite": ({"params/a.npy": npy(np.inf)}, "params/a has values that are not fin"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_content_is_refused(case, tmp_path):
    members, message = REFUSED[case]
    write(tmp_path / "a.npz", members)
    with pytest.raises(UserError, match=message):
        weights_file.load(tmp_path / "a.npz")


def test_pickles_are_refused_and_not_executed(tmp_path):
    proof = tmp_path / "proof"
    array = np.array([Executed(proof)], dtype=object)
    for members in ({"params/a.npy": npy(array)}, {"metadata.npy": npy(array)}):
        write(tmp_path / "a.npz", members)
        with pytest.raises(UserError, match="has the type object"):
            weights_file.load(tmp_path / "a.npz")
    assert not proof.exists()
    with np.load(tmp_path / "a.npz", allow_pickle=True) as opened:
        opened["metadata"]
    assert proof.exists()  # the file is as dangerous as intended


def test_compressed_arrays_are_refused(tmp_path):
    zeros = {"params/a.npy": npy(np.zeros(10**6))}
    write(tmp_path / "a.npz", zeros, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="its archive is compressed"):
        weights_file.load(tmp_path / "a.npz")


def test_two_arrays_of_the_same_name_are_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        for _ in range(2):
            archive.writestr("params/a.npy", ONES)
    with pytest.raises(UserError, match="two members of the same name"):
        weights_file.load(tmp_path / "a.npz")


def test_damaged_files_are_refused(path):
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match="not a weights file"):
            weights_file.load(path)
    for _ in range(500):
        damaged = bytearray(content)
        for position in rng.integers(len(content), size=3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):  # any other exception fails the test
            weights_file.load(path)


def test_missing_files_and_folders_are_reported(tmp_path):
    with pytest.raises(UserError, match="There is no file .*b.npz"):
        weights_file.load(tmp_path / "b.npz")
    with pytest.raises(UserError, match="Cannot read .*directory"):
        weights_file.load(tmp_path)


def test_what_cannot_be_saved(tmp_path):
    for name, tree, message in (
        ("a.npy", weights(), "must end in .npz"),
        ("a.npz", {"params": {"a/b": np.ones(1)}}, "params/a/b: names"),
        ("a.npz", {"params": {"": np.ones(1)}}, "must not be empty"),
        ("a.npz", {"params": {"a": np.array([np.nan])}}, "not finite"),
        ("a.npz", {"params": {"a": np.array([None])}}, "has the type object"),
    ):
        with pytest.raises(UserError, match=message):
            weights_file.save(tmp_path / name, tree, METADATA)
    assert not list(tmp_path.iterdir())


def test_shapes_are_compared():
    expected = weights()
    weights_file.check_shapes("a.npz", weights(), expected, "a network")
    expected["params"]["head"] = {"kernel": np.zeros((4, 2)), "bias": np.zeros(3)}
    del expected["batch_stats"]
    with pytest.raises(UserError) as raised:
        weights_file.check_shapes("a.npz", weights(), expected, "a network")
    assert str(raised.value) == (
        "a.npz does not have the weights of a network: params/head/kernel is missing; "
        "batch_stats/norm/count is not expected; batch_stats/norm/mean is not expected "
        "and 1 more."
    )
    del expected["params"]["head"]["kernel"]
    found = {"params": weights()["params"]}
    with pytest.raises(UserError, match=r"params/head/bias is \(2,\), not \(3,\)"):
        weights_file.check_shapes("a.npz", found, expected, "a network")


def test_settings_of_the_architecture():
    settings = MERANetSettings(width=4, epochs=3, flip=False)
    assert architecture(settings) == {
        "width": 4,
        "stage_sizes": (2, 2, 2, 2),
        "shortcut": "projection",
        "attentions": ("channel", "spatio_temporal"),
        "reduction": 16,
        "kernel_size": 5,
        "shared": "cnn",
    }
