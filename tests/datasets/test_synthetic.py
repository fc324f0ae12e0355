import dataclasses
import hashlib
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tensorflow_datasets as tfds

from datasets.prepare import Options, configuration
from datasets.synthetic import face, motion, strip, time_course
from datasets.synthetic.synthetic_dataset_builder import (
    Builder,
    SyntheticConfig,
    render_clip,
)

STILL = SyntheticConfig(name="still", drift=0.0, flicker=0.0, noise=0.0)


def subject(seed=0):
    return face.draw_face(np.random.default_rng(seed))


def render(emotion="surprise", config=STILL, seed=0, of=None):
    return render_clip(of or subject(), emotion, config, np.random.default_rng(seed))


def test_subjects_differ():
    faces = [subject(seed).image[::6, ::6] for seed in range(6)]
    for i in range(6):
        for j in range(i):
            assert np.abs(faces[i] - faces[j]).mean() > 10  # grey levels


def test_changes_are_where_the_motion_mask_is_true():
    record = render()
    clip, mask = record["clip"].astype(int), record["motion_mask"]
    change = np.abs(clip - clip[0]).max(-1)  # [T, H, W]
    apex = np.abs(record["motion_mask"].sum((1, 2))).argmax()
    assert apex == 8  # the apex is in the middle of the window
    assert 0.05 < mask[apex].mean() < 0.5
    far = ~mask[apex]
    assert change[apex][mask[apex]].mean() > 10 * change[apex][far].mean()


def test_no_motion_before_the_onset():
    record = next(
        record
        for record in (render(seed=seed) for seed in range(20))
        if record["apex"] - record["onset"] < 12
    )
    first = record["onset"] - (
        record["apex"] - 16
    )  # frames before it, every second one selected
    assert first // 2 >= 2
    assert not record["motion_mask"][: first // 2].any()
    assert (record["clip"][0] == record["clip"][1]).all()


def test_motion_rises_to_the_apex_and_falls():
    course = time_course.TimeCourse(
        onset=10, apex=20, offset=40, last=50, rise=1.0, fall=1.0
    )
    intensity = [course.intensity(number) for number in range(1, 51)]
    assert intensity[9] == intensity[39] == 0
    assert intensity[19] == 1
    assert np.all(np.diff(intensity[9:20]) > 0)
    assert np.all(np.diff(intensity[19:40]) < 0)


@pytest.mark.parametrize(
    ("emotion", "moves"),
    [
        ("disgust", {"nostril_left": (0, -1), "brow_inner_right": (-1, 1)}),
        ("happiness", {"mouth_corner_left": (-1, -1), "cheek_right": (0, -1)}),
        ("surprise", {"brow_outer_left": (0, -1), "chin": (0, 1)}),
    ],
)
def test_each_emotion_moves_its_action_units(emotion, moves):
    person = subject()
    rng = np.random.default_rng(0)
    field = motion.displacement(person, emotion, amplitude=2.0, rng=rng)
    assert np.linalg.norm(field, axis=-1).max() == pytest.approx(2.0)
    for landmark, direction in moves.items():
        x, y = person.landmarks[landmark]
        dx, dy = field[int(y), int(x)]
        assert np.hypot(dx, dy) > 0.5
        if direction[0]:
            assert np.sign(dx) == direction[0]
        assert np.sign(dy) == direction[1]


def test_head_motion_is_not_in_the_motion_mask():
    config = SyntheticConfig(
        name="drift", drift=2.0, flicker=0.0, noise=0.0, amplitude=(0.0, 0.0)
    )
    record = render(config=config)
    assert not record["motion_mask"].any()
    assert (record["clip"][0] != record["clip"][-1]).any()


def test_repeated_edge_frames_are_identical():
    config = SyntheticConfig(name="long", window=400)
    record = render(config=config)
    assert (record["clip"][0] == record["clip"][1]).all()
    assert (record["clip"][8] != record["clip"][0]).any()


def test_clips_are_those_of_version_1_0():
    # SHA-256 of clips as version 1.0.0 of the builder rendered them.
    for config, expected in (
        (
            Builder.builder_configs["medium"],
            "7f29fda14653fb50e34ec1c251a06b30f8c8b0977a6da9b27883cc63906d4ca5",
        ),
        (
            SyntheticConfig(name="tim", sampling="tim", frames=10, size=56, noise=4.0),
            "3a8ea663da8f6100f1af7138e69a0fd67c63e3af99c108634a09ffc1b35d910a",
        ),
    ):
        clip = render(config=config)["clip"]
        assert hashlib.sha256(clip.tobytes()).hexdigest() == expected


def test_frames_at_onset_and_apex():
    records = [render(config=SyntheticConfig(name="x"), seed=s) for s in range(12)]
    among = 0
    for record in records:
        clip, onset = record["clip"], record["onset_frame"]
        assert (record["apex_frame"] == clip[8]).all()  # the middle of the window
        earlier = record["apex"] - record["onset"]
        if earlier <= 16 and earlier % 2 == 0:
            assert (onset == clip[8 - earlier // 2]).all()
            among += 1
        else:  # rendered for itself, with noise of its own
            assert not any((onset == frame).all() for frame in clip)
    assert 0 < among < len(records)


def test_onset_frame_is_neutral_and_not_interpolated():
    tim = SyntheticConfig(
        name="tim", sampling="tim", frames=5, drift=0.0, flicker=0.0, noise=0.0
    )
    record = render(config=tim)
    assert (record["onset_frame"] == record["clip"][0]).all()
    assert not any((record["apex_frame"] == frame).all() for frame in record["clip"])
    # Another sampling selects other frames for the clip, but not for these.
    uniform = render(config=dataclasses.replace(tim, sampling="uniform"))
    for name in ("onset_frame", "apex_frame"):
        assert (record[name] == uniform[name]).all()


def test_harder_clips_change_more_between_frames():
    def mean_change(config):
        clip = render(config=config)["clip"].astype(float)
        return np.abs(np.diff(clip, axis=0)).mean()

    easy, medium, hard = (
        mean_change(next(c for c in Builder.BUILDER_CONFIGS if c.name == name))
        for name in ("easy", "medium", "hard")
    )
    assert easy < medium < hard


def test_records_are_deterministic_given_the_seed(tmp_path):
    def records(folder, seed):
        config = SyntheticConfig(
            name="tiny",
            frames=4,
            window=8,
            size=28,
            subjects=2,
            repetitions=2,
            seed=seed,
        )
        builder = Builder(
            config=config, data_dir=tmp_path / folder, file_format="array_record"
        )
        builder.download_and_prepare(file_format="array_record")
        source = tfds.builder_from_directory(builder.data_dir).as_data_source(
            split="train"
        )
        return {record["clip_id"]: record for record in source}

    first, again, other = records("a", 0), records("b", 0), records("c", 1)
    assert len(first) == 12
    assert {record["subject"] for record in first.values()} == {b"s01", b"s02"}
    for key, record in first.items():
        assert record["clip"].shape == (4, 28, 28, 3)
        assert record["motion_mask"].shape == (4, 28, 28)
        assert record["onset_frame"].shape == record["apex_frame"].shape == (28, 28, 3)
        assert record["onset"] < record["apex"] < record["offset"]
        assert not record["apex_estimated"]
        assert (record["clip"] == again[key]["clip"]).all()
        assert (record["clip"] != other[key]["clip"]).any()


def test_strip_has_a_row_for_each_emotion(tmp_path):
    strip.main(tmp_path / "strip.png", config="easy", subjects=1, scale=1)
    picture = iio.imread(tmp_path / "strip.png")
    assert picture.shape == (3 * 112, 7 * 112, 3)
    masks = picture[:, 6 * 112 :]
    assert set(np.unique(masks)) == {0, 255}
    strip.main(tmp_path / "wild.png", config="wild_small", subjects=2, scale=1)
    picture = iio.imread(tmp_path / "wild.png")
    assert picture.shape == (2 * 112, 4 * 112 + strip._TEXT, 3)
    assert (picture[:112, 4 * 112 :] < 128).any()  # the text of the first clip


@pytest.mark.parametrize(
    ("name", "subjects"),
    [
        ("medium", ["s01", "s02", "s03"]),
        ("varied", ["v01", "v02", "v03"]),
        ("photo", ["p01"]),
        ("sketch_subtle", ["k01", "k02", "k03"]),
    ],
)
def test_number_of_threads_does_not_affect_the_files(tmp_path, name, subjects):
    options = Options(frames=4, window=8, size=28)
    base = configuration(f"synthetic/{name}", options)
    config = dataclasses.replace(base, subjects=len(subjects), repetitions=2)
    contents = []
    for workers in (1, 3):
        builder = Builder(
            config=config, data_dir=tmp_path / str(workers), file_format="array_record"
        )
        builder.workers = workers
        builder.download_and_prepare(file_format="array_record")
        folder = builder.data_dir
        files = sorted(Path(folder).glob("*array_record*"))
        contents.append([path.read_bytes() for path in files])
        source = tfds.builder_from_directory(folder).as_data_source(split="train")
        ids = [record["clip_id"].decode() for record in source]
        assert ids == [
            f"{subject}/{emotion}_{repetition}"
            for subject in subjects
            for emotion in motion.EMOTIONS
            for repetition in (1, 2)
        ]
    assert contents[0] == contents[1]


def test_configurations_have_no_subject_in_common():
    varied = Builder.builder_configs["varied"]
    assert (varied.subjects, varied.repetitions) == (240, 3)
    kinds = {config.faces for config in Builder.BUILDER_CONFIGS}
    assert kinds == {"drawn", "varied", "photograph", "sketch", "wild_a", "wild_b"}
