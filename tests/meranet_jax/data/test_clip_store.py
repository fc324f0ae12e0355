import concurrent.futures
import dataclasses
import shutil
import threading
import types

import filelock
import numpy as np
import pytest
from rich.progress import Progress

from meranet_jax import cores
from meranet_jax.data import clip_store, flow_cache, source_records
from meranet_jax.data import records as data_records
from meranet_jax.data.clip_store import downsample, shrink
from meranet_jax.errors import UserError
from meranet_jax.inputs import optical_flow, registry
from tests.meranet_jax.loading import load, source, wait_for_message


def load_input(folder, name, **options):
    return load(folder, network_input=registry.find(name), **options)


def rows_of(folder):
    """Returns the records by clip id."""
    _, rows = data_records.open_records(folder)
    return {row["clip_id"].decode(): row for row in rows}


def copy_without_flow(records, folder):
    """Copies records, and returns the folder of the copy."""
    ignore = shutil.ignore_patterns(flow_cache.FOLDER)
    return shutil.copytree(records, folder / "records", ignore=ignore)


@pytest.fixture
def no_estimates(monkeypatch):
    """Lets no flow be computed."""

    def refuse(*arguments):
        raise AssertionError("the flow is known")

    monkeypatch.setattr(optical_flow, "estimate", refuse)


@pytest.fixture
def without_onset(monkeypatch):
    """Hides the onset frame of all records, which those of version 1.0 do not have."""

    def open_old(folder):
        info, rows = data_records.open_records(folder)
        features = {n: f for n, f in info.features.items() if n != "onset_frame"}
        old = types.SimpleNamespace(
            features=features, metadata=info.metadata, name=info.name
        )
        return old, rows

    monkeypatch.setattr(source_records, "open_records", open_old)


@pytest.mark.parametrize("feed", ["device", "records"])
def test_difference_stores_the_onset_frame_before_the_clip(records, clips, feed):
    loaded = load_input(records, "difference", feed=feed)
    assert loaded.inputs.shape == (36, 9, 16, 16, 3)
    rows = rows_of(records)
    for index in (0, 17, 35):
        row = rows[loaded.clip_ids[index]]
        onset = downsample(row["onset_frame"][None], 16)[0]
        np.testing.assert_array_equal(loaded.inputs[index][0], onset)
        np.testing.assert_array_equal(loaded.inputs[index][1:], clips.clips[index])
        np.testing.assert_array_equal(loaded.clips[index], clips.clips[index])


@pytest.mark.parametrize("name", ["flow", "onset_apex_flow"])
def test_flow_is_that_of_the_recorded_frames(records, name):
    loaded = load_input(records, name, leave_out=("s01/surprise_2",))
    frames = {"flow": 8, "onset_apex_flow": 1}[name]
    assert loaded.inputs.shape == (35, frames, 16, 16, 2)
    assert loaded.inputs.dtype == np.float16
    rows = rows_of(records)
    for index in (0, 20, 34):
        row = rows[loaded.clip_ids[index]]
        shown = row["clip"] if name == "flow" else row["apex_frame"][None]
        flow = optical_flow.estimate(row["onset_frame"], shown)
        flow = shrink(optical_flow.remove_global_motion(flow), 16)
        np.testing.assert_allclose(loaded.inputs[index], flow, rtol=1e-3, atol=1e-6)


def test_flow_is_computed_once(records, no_estimates_after_one_load):
    first, again = no_estimates_after_one_load
    np.testing.assert_array_equal(first.inputs, again.inputs)
    read = load_input(records, "flow", feed="records")
    np.testing.assert_array_equal(np.stack([*read.inputs]), first.inputs)
    assert read.inputs.nbytes == first.inputs.nbytes
    # Flow and strain are computed from the same files.
    strain = load_input(records, "flow_strain", classes=("disgust", "surprise"))
    kept = [clip_id in strain.clip_ids for clip_id in first.clip_ids]
    np.testing.assert_array_equal(strain.inputs, first.inputs[kept])


@pytest.mark.parametrize("feed", ["device", "records"])
def test_luminance_is_stored_after_the_same_flow(
    records, no_estimates_after_flow, feed
):
    loaded = load_input(records, "flow_grey", feed=feed)
    assert loaded.inputs.shape == (36, 8, 16, 16, 3)
    rows = rows_of(records)
    for index in (0, 35):
        stored = loaded.inputs[index]
        assert stored.dtype == np.float16
        np.testing.assert_array_equal(
            stored[..., :2], no_estimates_after_flow.inputs[index]
        )
        clip = downsample(rows[loaded.clip_ids[index]]["clip"], 16)
        grey = np.rint(clip @ np.array([0.299, 0.587, 0.114], np.float32))
        np.testing.assert_array_equal(stored[..., 2], grey)


@pytest.fixture
def no_estimates_after_flow(records, request):
    loaded = load_input(records, "flow")
    request.getfixturevalue("no_estimates")
    return loaded


def test_apex_frame_alone_is_stored(records):
    loaded = load_input(records, "apex_grey")
    assert loaded.inputs.shape == (36, 1, 16, 16, 3)
    row = rows_of(records)[loaded.clip_ids[7]]
    apex = downsample(row["apex_frame"][None], 16)
    np.testing.assert_array_equal(loaded.inputs[7], apex)


@pytest.fixture
def no_estimates_after_one_load(records, request):
    first = load_input(records, "flow")
    request.getfixturevalue("no_estimates")
    return first, load_input(records, "flow")


def test_flow_is_computed_on_all_cores(records, tmp_path, monkeypatch):
    """Each of twelve cores computes the flow of one of 36 clips at a time."""
    folder = copy_without_flow(records, tmp_path)
    monkeypatch.setattr(cores, "count", lambda: 12)
    together, estimate = threading.Barrier(12), optical_flow.estimate

    def wait_for_the_others(*arguments):
        together.wait(timeout=30)  # raises if fewer threads are at work
        return estimate(*arguments)

    monkeypatch.setattr(optical_flow, "estimate", wait_for_the_others)
    loaded = load_input(folder, "flow")
    monkeypatch.undo()
    np.testing.assert_array_equal(loaded.inputs, load_input(records, "flow").inputs)


def test_no_progress_is_shown_if_no_flow_is_computed(records, tmp_path, capsys):
    """Records that are left out have no flow, which is no reason for a bar."""
    folder = copy_without_flow(records, tmp_path)
    options = {"network_input": registry.find("flow")}
    options["leave_out"] = ("s01/surprise_2", "s03/disgust_1")
    load(source(folder, min_frames=35), **options)
    shown = capsys.readouterr().err
    assert "Computing optical flow" in shown and "100%" in shown
    load(source(folder, min_frames=35), **options)
    assert capsys.readouterr().err == ""


def test_progress_is_shown_if_flow_is_computed_again(records, tmp_path, capsys):
    """The entries are complete, but one is of other frames."""
    folder = copy_without_flow(records, tmp_path)
    load_input(folder, "flow")
    (file,) = folder.rglob("*.entries")
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    capsys.readouterr()
    load_input(folder, "flow")
    shown = capsys.readouterr().err
    assert "Computing optical flow" in shown and "100%" in shown


def test_progress_counts_all_records_from_the_first_flow_on(monkeypatch):
    bars = []

    class Bar(Progress):
        def __init__(self, **options):
            super().__init__(**options, disable=True)
            bars.append(self)

    monkeypatch.setattr(clip_store, "Progress", Bar)
    progress = clip_store._Progress(total=5)
    items = progress.track("abcde")
    next(items), next(items)
    assert not bars
    progress.show()
    progress.show()
    (bar,) = bars
    assert (bar.tasks[0].completed, bar.tasks[0].total) == (2, 5)
    assert "".join(items) == "cde"
    assert bar.tasks[0].completed == 5
    progress.stop()


def test_known_flow_is_read_while_other_flow_is_computed(records, tmp_path, capsys):
    folder = copy_without_flow(records, tmp_path)
    options = {"leave_out": ("s01/surprise_2", "s03/disgust_1")}
    first = load_input(folder, "flow", **options)
    (path,) = folder.rglob("*.lock")
    lock = filelock.FileLock(path, thread_local=False)
    lock.acquire(timeout=0)  # as another process does
    limit = threading.Timer(60, lock.release)
    limit.start()
    capsys.readouterr()
    again = load_input(folder, "flow", **options)
    assert lock.is_locked and capsys.readouterr().err == ""
    np.testing.assert_array_equal(first.inputs, again.inputs)
    # Only flow that is missing is waited for.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        complete = thread.submit(load_input, folder, "flow")
        text = "Waiting for another process that computes the optical flow in "
        shown = wait_for_message(f"{text}{folder / flow_cache.FOLDER}.", capsys)
        assert lock.is_locked and not complete.done()
        lock.release()
        assert len(complete.result(timeout=60)) == 36
    assert (shown + capsys.readouterr().err).count(text) == 1
    limit.cancel()


def test_another_method_is_computed(records):
    flow = load_input(records, "flow")
    other = load_input(records, "flow", flow_method="farneback")
    assert np.abs(other.inputs.astype(float) - flow.inputs).max() > 0.01


def test_fingerprint_depends_on_the_onset_frame(records, clips):
    difference = load_input(records, "difference")
    assert difference.fingerprint() != clips.fingerprint()
    assert difference.fingerprint() == load_input(records, "flow").fingerprint()
    assert load_input(records, "grey").fingerprint() == clips.fingerprint()
    # The leak guard compares the frames of clips, which are the same.
    assert [d.frames for d in difference.digests] == [d.frames for d in clips.digests]


@pytest.mark.parametrize("name", ["flow", "flow_strain", "onset_apex_flow"])
def test_flow_needs_the_onset_frame(records, without_onset, name):
    with pytest.raises(UserError, match=f"no onset_frame, which --input={name}.*again"):
        load_input(records, name)


def test_difference_of_old_records_is_from_the_first_frame(
    records, clips, without_onset
):
    loaded = load_input(records, "difference")
    np.testing.assert_array_equal(loaded.inputs[:, 0], clips.clips[:, 0])
    np.testing.assert_array_equal(loaded.inputs[:, 1:], clips.clips)
    assert loaded.first_as_onset and not clips.first_as_onset


def test_shrinking_keeps_the_motion_relative_to_the_size():
    flow = np.zeros((1, 8, 8, 2), np.float32)
    flow[..., 0], flow[0, :4, :4, 1] = 2, 4
    small = shrink(flow, 4)
    np.testing.assert_allclose(small[..., 0], 1)
    np.testing.assert_allclose(
        small[0, ..., 1], 2 * np.kron(np.eye(2)[:1].T @ np.eye(2)[:1], np.ones((2, 2)))
    )


def test_a_changed_clip_of_the_run_is_noticed(records):
    flow = load_input(records, "flow")
    assert flow.has_fingerprint(flow.fingerprint())
    other = dataclasses.replace(flow, labels=1 - flow.labels // 2)
    assert not other.has_fingerprint(flow.fingerprint())
