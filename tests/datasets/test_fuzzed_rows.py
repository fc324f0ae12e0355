"""Tables with random cells: each row is an expression or has a reason, no traceback."""

import itertools
import random

import pytest

from datasets import DataError, long_check, prepare
from datasets.source.cells import canonical_subject
from datasets.source.expressions import find_expression
from datasets.source.local_copy import open_local_copy
from datasets.source.long_copy import open_long_recordings
from tests.datasets.tree import touch, write_csv

# Cells that people leave in any column
ODD = ["", " ", "/", "\\", "-", "-1", "0", "?", "NULL", "nan", "N/A", "remake", "59?"]
ODD += ["?12", "12.5", "1e3", "999999999", "99999999999999999999", "-7", "x", "\u2013"]
ODD += ["\u0663", "\u00bd", "1,5", "../../etc", "a/b", "..", "\x00", "=A1", "None"]
ODD += ["True", "sub01", "'01'", " 01 ", "\u200b", "\U0001f642", "s" * 300, "01\n02"]
_ONSETS = [str(number) for number in range(1, 16)] + ["3.0"]
_APEXES = [str(number) for number in range(10, 26)] + ["200"]
_OFFSETS = [str(number) for number in range(20, 33)] + ["5"]

_ROWS = 10_000

# By data set: options, table, columns with plausible cells, and folders of frames
CASES = {
    "casme": (
        {},
        "casme.csv",
        {
            "Subject": ["1", "02", "8.0", "sub09", "10"],
            "Filename": [f"EP{number:02d}_1" for number in range(1, 31)],
            "OnsetF": _ONSETS,
            "ApexF1": _APEXES,
            "ApexF2": _APEXES,
            "OffsetF": _OFFSETS,
            "AU": ["4", "4+L10", "12?"],
            "Emotion": ["tense", "disgust", "comtempt", "Fear"],
        },
        [
            f"Cropped/sub{subject:02d}/EP{number:02d}_1"
            for subject in (1, 2, 8, 9)
            for number in range(1, 30)
        ],
    ),
    "casme2": (
        {},
        "CASME2-coding-20190701.csv",
        {
            "Subject": ["1", "02", "sub03", "4"],
            "Filename": [f"EP{number:02d}_01f" for number in range(1, 31)],
            "OnsetFrame": _ONSETS,
            "ApexFrame": _APEXES,
            "OffsetFrame": _OFFSETS,
            "Action Units": ["4", "4+L10", "?"],
            "Estimated Emotion": ["others", "disgust", "Happiness"],
        },
        [
            f"Cropped/sub{subject:02d}/EP{number:02d}_01f"
            for subject in (1, 2, 3)
            for number in range(1, 30)
        ],
    ),
    "cas_me_2": (
        {"expressions": "both"},
        "CAS(ME)^2code_final.csv",
        {
            "Participant": ["1", "2", "3.0", "s15"],
            "Filename": [
                f"{stimulus}_{number}"
                for stimulus in ("anger1", "happy1", "disgust2")
                for number in range(1, 11)
            ],
            "Onset": _ONSETS,
            "Apex": _APEXES,
            "Offset": _OFFSETS,
            "Action Units": ["4", "4+7"],
            "Estimated Emotion": ["negative", "others", "Positive"],
            "Type": ["micro-expression", "macro", "Micro"],
            "Self-reported Emotion": ["anger", ""],
        },
        [
            f"selectedpic/s{subject}/{stimulus}_{number}"
            for subject in (15, 16, 19)
            for stimulus in ("anger1", "happy1")
            for number in range(1, 11)
        ],
    ),
    "samm": (
        {},
        "SAMM_Micro_FACS_Codes_v2.csv",
        {
            "Subject": ["006", "7", "011"],
            "Filename": [f"006_1_{number}" for number in range(1, 31)],
            "Onset Frame": _ONSETS,
            "Apex Frame": _APEXES,
            "Offset Frame": _OFFSETS,
            "Action Units": ["AU4", "AU12 or AU14"],
            "Estimated Emotion": ["Anger", "Other", "Surprise"],
            "Objective Classes": ["1", "2.0", "7"],
        },
        [
            f"SAMM/{subject}/006_1_{number}"
            for subject in ("006", "007", "011")
            for number in range(1, 30)
        ],
    ),
    "mmew": (
        {},
        "MMEW_Micro_Exp.csv",
        {
            "Subject": ["1", "01", "S01"],
            "Filename": [f"S01-01-{number:03d}" for number in range(1, 31)],
            "OnsetFrame": _ONSETS,
            "ApexFrame": _APEXES,
            "OffsetFrame": _OFFSETS,
            "Action Units": ["4"],
            "Estimated Emotion": ["happiness", "others", "repression"],
            "remarks": ["", "blink"],
        },
        [f"Micro_Expression/fear/S01-01-{number:03d}" for number in range(1, 30)],
    ),
    "fourdme": (
        {},
        "4DME_Labelling_Micro_release v1.csv",
        {
            "sub_ID": ["8", "S08", "9"],
            "fold_name": [f"S08_002_01_{number}" for number in range(1, 31)],
            "Emotion": ["Negative", "Surprise+Positive", "repression"],
            "Onset": _ONSETS,
            "Apex": _APEXES,
            "Offset": _OFFSETS,
            "AU4": ["0", "1"],
            "AUs": ["AU4", ""],
            "eye blink": ["0", "1"],
        },
        [
            f"gray_micro/{subject}/S08_002_01_{number}"
            for subject in ("S08", "S09")
            for number in range(1, 30)
        ],
    ),
    "casme3": (
        {},
        "cas(me)3_part_A_ME_label_JpgIndex_v2.csv",
        {
            "Subject": ["spNO.1", "spNo.2", "40"],
            "Filename": [*"abcdefghijklm"],
            "Onset": _ONSETS,
            "Apex": _APEXES,
            "Offset": _OFFSETS,
            "AU": ["4"],
            "Objective class": ["1", "VII"],
            "emotion": ["sad", "Others", "disgust"],
        },
        [
            f"part_A/spNO.{subject}/{clip}/color"
            for subject in (1, 2, 40)
            for clip in "abcdefghijkl"
        ],
    ),
    "casme3/cut": (
        {},
        "cas(me)3_part_A_ME_label_JpgIndex_v2.csv",
        {
            "Subject": ["spNO.1", "spNo.2"],
            "Filename": [*"abcF"],
            "Onset": _ONSETS,
            "Apex": _APEXES,
            "Offset": _OFFSETS,
            "AU": ["4"],
            "Objective class": ["1", "VII"],
            # One emotion: of two for an expression none would be taken.
            "emotion": ["sad"],
        },
        [
            f"Part_A_ME_clip/frame/spN{o}.{subject}_{clip}_{onset}"
            for subject, o in ((1, "O"), (2, "o"))
            for clip in "abcF"
            for onset in range(1, 15)
        ],
    ),
    "casme3_c": (
        {},
        "CAS(ME)3_part_C_ME.csv",
        {
            "sub": [str(number) for number in range(1, 31)],
            "count": ["1", "2"],
            "onset": _ONSETS,
            "offset": _OFFSETS,
            "au": ["4"],
            # One emotion: of two for an expression none would be taken.
            "emotion": ["negative"],
        },
        [f"part_C/{subject:02d}/a/color" for subject in range(1, 30)],
    ),
}

LONG_CASES = {
    "cas_me_2": (
        *CASES["cas_me_2"][1:3],
        ["rawpic/s15/15_0401anger", "rawpic/s16/16_0502happy"],
    ),
    "casme3": (
        "cas(me)3_part_A_ME_label_JpgIndex_v2.csv",
        {
            "Subject": ["spNO.1", "spNo.40", "216"],
            "Filename": ["a", "e", "D"],
            "Onset": _ONSETS,
            "Apex": _APEXES,
            "Offset": _OFFSETS,
            "AU": ["4"],
            "emotion": ["sad", "Others", "disgust"],
        },
        ["part_A/spNO.1/a/color", "part_A/spNO.40/e/color"],
    ),
    "samm": (
        "SAMM_LongVideos_V3_Release.csv",
        {
            "Subject": ["006", "6"],
            "Filename": ["006_1_1", "006_2", "007_1_3"],
            "Onset": _ONSETS,
            "Apex": _APEXES,
            "Offset": _OFFSETS,
            "Type": ["Micro - 1/2", "Macro"],
            "Action Units": ["AU4"],
        },
        ["SAMM_longvideos/006_1", "SAMM_longvideos/007_1"],
    ),
    "smic": (
        "SMIC-HS-E_annotation.csv",
        {
            "Subject": ["1", "18", "s20"],
            "Filename": ["s1_ne_03", "s18_sur_03", "s20_po_01"],
            **{
                name: [*(_ONSETS if "On" in name else _OFFSETS), *[""] * 5]
                for name in ("OnsetF", "OffsetF", "Onset2F", "Offset2F", "Onset3F")
                + ("Offset3F", "FirstF", "LastF")
            },
            "Emotion": ["negative", "surprise"],
        },
        ["SMIC-HS-E/s01/s1_ne_03", "SMIC-HS-E/s18/s18_sur_03"],
    ),
}


def write_fuzzed(folder, table, columns, sources, count):
    """Writes a table of random cells, an eighth of them odd, and empty images."""
    chance = random.Random(11)
    rows = [
        [
            chance.choice(ODD if chance.random() < 1 / 8 else plausible)
            for plausible in columns.values()
        ]
        for _ in range(count)
    ]
    write_csv(folder / table, [list(columns), *rows])
    for place in sources:
        touch(folder / place, *(f"img{number}.jpg" for number in range(1, 31)))


@pytest.mark.parametrize("name", CASES)
def test_each_row_becomes_an_expression_or_has_a_reason(tmp_path, name):
    options, table, columns, sources = CASES[name]
    count = -(-_ROWS // len(CASES))
    write_fuzzed(tmp_path, table, columns, sources, count)
    name = name.partition("/")[0]
    config = prepare.configuration(name, prepare.Options(**options))
    specification = prepare.builder_class(name).SPECIFICATION
    copy = open_local_copy(specification, config, tmp_path)
    reasons = {e.row: e.reason for e in copy.left_out if e.row is not None}
    found = 0
    for _, row in copy.rows:
        assert row.number not in reasons
        try:
            expression = find_expression(copy.release, row)
        except DataError as error:
            reasons[row.number] = str(error)
            continue
        reasons[row.number] = "found"
        found += 1
        assert expression.run.contiguous_run(expression.apex) is not None
    assert set(reasons) == set(range(2, count + 2)) and all(reasons.values())
    assert count / 20 < found < count and copy.not_selected == 0


def test_each_folder_of_smic_becomes_an_expression_or_has_a_reason(tmp_path):
    chance = random.Random(5)
    odd = [n for n in ODD if n.strip(" .") and len(n) < 250 and not {*"/\0"} & {*n}]
    folders = set()
    for subject, emotion, number in itertools.product(
        range(1, 7), ("negative", "positive", "surprise"), range(1, 9)
    ):
        code = {"negative": "ne", "positive": "po"}.get(emotion, "sur")
        names = [
            chance.choice([f"s{subject}", f"S{subject:02d}"]),
            chance.choice(["micro", "Micro", "non_micro"]),
            emotion,
            f"s{subject}_{code}_{number:02d}",
        ]
        if chance.random() < 1 / 4:
            names[chance.randrange(4)] = chance.choice([*odd, "s3", "negative"])
        folders.add("/".join(("SMIC_all_cropped/HS", *names)))
    for folder in folders:
        touch(tmp_path / folder, *(f"reg_image{n}.bmp" for n in (101, 102)))
    config = prepare.configuration("smic", prepare.Options())
    specification = prepare.builder_class("smic").SPECIFICATION
    copy = open_local_copy(specification, config, tmp_path)
    left_out = {(entry.subject, entry.clip) for entry in copy.left_out}
    sources = {copy.release.source(row.subject, row.clip) for _, row in copy.rows}
    for folder in folders:
        _, _, subject, _, _, clip = folder.split("/")
        names = {(canonical_subject(subject), clip), (subject, "")}
        assert (tmp_path / folder in sources) + len(names & left_out) == 1, folder
    assert len(folders) / 4 < len(copy.rows) < len(folders)
    assert all(entry.reason for entry in copy.left_out)


@pytest.mark.parametrize("name", LONG_CASES)
def test_each_row_of_long_recordings_has_an_interval_or_a_reason(tmp_path, name):
    table, columns, sources = LONG_CASES[name]
    count = 500
    write_fuzzed(tmp_path, table, columns, sources, count)
    copy = open_long_recordings(
        long_check.specification_of(name), tmp_path, table=(table,)
    )
    found = {i.row.number for r in copy.recordings for i in r.intervals}
    named = {int(p.place.split()[1].strip(",")) for p in copy.problems}
    assert found | named == set(range(2, count + 2)) and len(found) > 20
    assert all(problem.text for problem in copy.problems)
