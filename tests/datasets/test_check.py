"""``python -m datasets.check`` on generated copies: counts, damage, contact sheet."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tyro

from datasets import DataError, check, few_lines, prepare
from tests.datasets import cas_me_2_tree, casme2_tree, casme_tree
from tests.datasets.astronaut import with_faces

ROOT = Path(__file__).parents[2]

# The other releases of a data set differ in layout, which test_<data set> covers, and
# test_casme has a complete copy.
COPIES = [
    pytest.param(
        *(name, tree, release, number),
        marks=[pytest.mark.slow] * (name == "casme" or place > 0),
    )
    for name, tree, number in (
        ("casme2", casme2_tree, 255),
        ("casme", casme_tree, 197),
        ("cas_me_2", cas_me_2_tree, 57),
    )
    for place, release in enumerate(tree.RELEASES)
]


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "datasets.check", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def crop(release):
    return "provided" if "cropped" in release.lower() else "none"


@pytest.mark.e2e
@pytest.mark.parametrize(("name", "tree", "release", "number"), COPIES)
def test_complete_copy_of_every_release(tmp_path, name, tree, release, number):
    rows = tree.ROWS
    if name == "casme2" and release != tree.RELEASES[1]:
        rows = tree.SHORT  # one release has clips as long as the real ones
    elif name == "cas_me_2" and release == tree.RELEASES[0]:
        rows = tree.MICRO  # test_cas_me_2 has a copy with the macro-expressions
    tree.write_tree(tmp_path, release=release, rows=rows)
    report = check.check(name, tmp_path, options=prepare.Options(crop=crop(release)))
    assert report.complete and report.rows == report.records == number
    assert sum(found["rows"] for found in report.emotions.values()) == number
    assert sum(report.subjects.values()) == number
    # The generated table has the published counts, so only the paper's differ.
    ((generation, counts),) = report.published_counts.items()
    assert {e: f["rows"] for e, f in report.emotions.items()} == counts
    paper = report.paper_counts
    differing = {e for e in paper if paper[e] != report.emotions[e]["records"]}
    assert set(paper) - differing == (
        {"disgust", "happiness", "surprise"} & set(paper) if name == "casme2" else set()
    )
    assert bool(report.differences) == bool(differing)
    for emotion in differing:
        assert any(emotion in sentence for sentence in report.differences)
    assert not report.frames_without_row and report.frames_read > 10 * number


@pytest.mark.slow
def test_macro_expressions_can_be_selected(tmp_path):
    cas_me_2_tree.write_tree(tmp_path)
    options = prepare.Options(crop="none", expressions="both")
    report = check.check("cas_me_2", tmp_path, options=options)
    assert report.complete and report.rows == 357 and report.not_selected == 0
    counts = {kind: len(entries) for kind, entries in report.notes_by_kind.items()}
    # The colours of generated frames change more than a face does.
    assert (
        counts.keys()
        <= {"sudden changes", "isolated changes"}
        | (
            expected := {
                "apex estimated": 1,
                "apex outside its interval": 3,
                "offset estimated": 44,
            }
        ).keys()
    )
    assert counts | expected == counts
    assert report.published_counts == {}


DAMAGED = casme2_tree.SHORT[:60]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A copy with three damaged clips, a missing clip, and frames without a row."""
    copy = tmp_path_factory.mktemp("damaged")
    casme2_tree.write_tree(copy, rows=DAMAGED)
    cropped = copy / "Cropped"
    clips = [cropped / f"sub{r.subject:02d}" / r.clip for r in DAMAGED[:5]]
    apexes = [
        clip / f"reg_img{r.apex}.jpg" for clip, r in zip(clips, DAMAGED, strict=False)
    ]
    apexes[0].write_bytes(apexes[0].read_bytes()[:250])
    apexes[1].write_bytes(b"")
    for name in (apexes[2], apexes[2].with_name(f"reg_img{DAMAGED[2].apex + 1}.jpg")):
        name.write_bytes(b"<html>not found</html>")
    shutil.rmtree(clips[3])
    shutil.copytree(clips[4], cropped / "sub30/EP01_01")
    return copy


def test_damaged_clips_are_named_and_the_exit_code_is_1(damaged):
    before = sorted(damaged.rglob("*"))
    checked = command("casme2", f"--manual_dir={damaged}")
    assert checked.returncode == 1
    for row in DAMAGED[:3]:
        name = f"sub{row.subject:02d}/{row.clip}"
        assert f"{name}: reg_img{row.apex}.jpg cannot be read" in checked.stdout
        assert f"Cropped/{name}/reg_img{row.apex}.jpg: " in checked.stdout
    missing = f"sub{DAMAGED[3].subject:02d}/{DAMAGED[3].clip}"
    assert f"{missing}: there is no folder for it" in checked.stdout
    assert "frames without a row: 1\n  sub30/EP01_01" in checked.stdout
    assert "4 rows cannot become a record, 4 images cannot be read" in checked.stdout
    assert "and 1 more in this folder" in checked.stdout
    assert "Traceback" not in checked.stderr
    assert sorted(damaged.rglob("*")) == before


def test_equal_reasons_are_grouped_and_all_are_in_the_json(tmp_path):
    casme2_tree.write_tree(tmp_path, rows=casme2_tree.MEGC[:9])
    for path in sorted(tmp_path.glob("Cropped/*/*"))[:7]:
        if path.is_dir():
            shutil.rmtree(path)
    report = check.check("casme2", tmp_path)
    text = check.describe(report)
    assert text.count("there is no folder for it in Cropped") == 5
    assert "cannot become a record: 7\n" in text
    assert "\n  and 2 more for this reason; --json lists all\n" in text
    assert len(json.loads(report.to_json())["no_record"]) == 7


def test_reasons_that_differ_in_numbers_are_the_same():
    lines = [
        (f"clip {n}", f"no face in frames {n}" + ", 1" * (n % 3)) for n in range(860)
    ]
    lines.insert(700, ("clip x", "permission denied"))
    shown = few_lines.few_of_each(lines, 2, "a file lists all")
    assert shown == [
        ("clip 0", 1),
        ("clip 1", 1),
        ("and 858 more for this reason; a file lists all", 858),
        ("clip x", 1),
    ]


def test_json_report(damaged, capsys):
    assert check.main("casme2", manual_dir=damaged, json=True) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["whole"] is False
    assert (report["rows"], report["records"]) == (60, 56)
    assert [entry["row"] for entry in report["no_record"]] == [2, 3, 4, 5]
    assert len(report["unreadable"]) == 4
    assert set(report["unreadable"].values()) == {
        "cannot be read: it is damaged or not an image (OSError)",
        "cannot be read: it is damaged or not an image (UnidentifiedImageError)",
    }
    assert report["no_row"][0]["clip"] == "EP01_01"
    lengths = [row.offset - row.onset + 1 for row in DAMAGED[4:]]
    assert report["lengths"]["least"] == min(lengths)
    assert report["lengths"]["most"] == max(lengths)
    against, *_ = report["differences"]
    assert "disgust 20 instead of 63" in against
    assert "the table was edited or is a different one" in against


def test_damaged_image_that_no_clip_needs_is_reported(tmp_path):
    row = casme2_tree.ROWS[0]
    casme2_tree.write_tree(tmp_path, rows=[row])
    spare = (
        tmp_path / f"Cropped/sub{row.subject:02d}/{row.clip}/reg_img{row.apex + 1}.jpg"
    )
    spare.write_bytes(b"")
    report = check.check("casme2", tmp_path)
    assert report.records == 1 and len(report.unreadable) == 1 and not report.complete


def test_damaged_video_is_reported(tmp_path):
    casme_tree.write_tree(tmp_path, release="video", rows=casme_tree.SOME)
    path = sorted(tmp_path.rglob("*.avi"))[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    report = check.check("casme", tmp_path, options=prepare.Options(crop="none"))
    assert not report.complete
    assert path.stem in {entry["clip"] for entry in report.rows_without_record}


def test_contact_sheet_shows_onset_apex_and_offset(tmp_path):
    manual_dir = with_faces(tmp_path / "copy", rows=casme2_tree.SHORT[:2])
    sheet = tmp_path / "sheet.png"
    assert check.main("casme2", manual_dir=manual_dir, sheet=sheet) == 0
    picture = iio.imread(sheet)
    # Two emotions with one clip each: three different tiles, then empty space.
    assert picture.shape[1] > 4 * 3 * 112 and picture.shape[0] > 2 * 112
    assert picture[:, 3 * 112 + 30 :].min() > 250
    tiles = [picture[40:-8, 8 + 112 * k : 8 + 112 * (k + 1)] for k in range(3)]
    assert all(tile.std() > 30 for tile in tiles)
    assert np.abs(tiles[0].astype(int) - tiles[1]).max() > 50


def test_differences_are_explained(tmp_path):
    rows = list(casme2_tree.MEGC)  # of three frames
    place = next(n for n, row in enumerate(rows) if row.emotions[1] == "surprise")
    rows[place] = dataclasses.replace(rows[place], emotions=("joy", "joy"))
    casme2_tree.write_tree(tmp_path, rows=rows)
    report = check.check("casme2", tmp_path)
    against, paper = report.differences
    assert "surprise 27 instead of 28; 1 rows cannot be read." in against
    assert "surprise has 27 records, 28 in the paper: 27 of its rows can be" in paper
    assert "2014" not in paper

    casme2_tree.write_table(
        tmp_path / "CASME2-coding-20190701.xlsx",
        table="20140508",
        rows=casme2_tree.MEGC,
    )
    (paper,) = check.check("casme2", tmp_path).differences
    assert "this table labels three of the paper's 28 as sadness" in paper


def test_empty_contact_sheet_does_not_prevent_the_report(tmp_path, capsys):
    manual_dir = tmp_path / "copy"
    casme2_tree.write_tree(manual_dir, rows=casme2_tree.SHORT[:2])
    for path in manual_dir.glob("Cropped/*/*/*.jpg"):
        path.write_bytes(b"")
    sheet = tmp_path / "sheet.png"
    assert check.main("casme2", manual_dir=manual_dir, sheet=sheet) == 1
    assert not sheet.exists()
    printed = capsys.readouterr()
    assert "2 rows cannot become a record" in printed.out
    assert "no sheet was drawn" in printed.err


@pytest.mark.parametrize("names", [("Section A_coding.xls",), ("CASME_A.xls",)])
def test_section_without_its_table_is_incomplete(tmp_path, names):
    casme_tree.write_tree(tmp_path, rows=casme_tree.SOME[:6])
    (table,) = tmp_path.rglob("Section A.xls")
    table.rename(table.with_name(names[0]))
    options = prepare.Options(crop="none")
    assert check.check("casme", tmp_path, options=options).complete
    (table,) = tmp_path.rglob("Section B.xls")
    table.unlink()
    report = check.check("casme", tmp_path, options=options)
    assert not report.complete and report.missing_tables == ["Section B.xls"]
    assert report.notes == ["part of the table is missing: Section B.xls"]
    assert (
        not report.rows_without_record
        and "Section B.xls not found" in check.describe(report)
    )
    against, *_ = report.differences
    assert against.endswith("Section B.xls was not found.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["casme2"], "manual_dir"),
        (["synthetic", "--manual_dir=."], "synthetic is generated"),
        (["casme9", "--manual_dir=."], "no data set named 'casme9'"),
        (["casme2", "--manual_dir=tests", "--sheet=x/y.png"], "x is not a folder"),
        (["casme2", "--manual_dir=tests", "--sheet=x"], "must be an image file"),
        (["casme2", "--manual_dir=tests", "--sheet=x.psd"], "must be an image file"),
        (["casme2", "--manual_dir=tests", "--frames=0"], "--frames=0 must be"),
    ],
)
def test_invalid_flags_are_refused(arguments, message, capsys):
    with pytest.raises((DataError, SystemExit)) as refused:
        tyro.cli(check.main, args=arguments, use_underscores=True)
    text = " ".join([str(refused.value), *capsys.readouterr()])
    assert message in " ".join(text.replace("│", " ").split())


def test_an_error_is_printed_without_a_traceback():
    failed = command("casme2", "--manual_dir=nowhere")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ") and not failed.stdout
    assert "nowhere is not a folder" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_copy_without_frames_raises(tmp_path):
    casme2_tree.write_table(tmp_path / "CASME2-coding-20190701.xlsx")
    with pytest.raises(DataError, match="No frames of the table's clips"):
        check.check("casme2", tmp_path)
