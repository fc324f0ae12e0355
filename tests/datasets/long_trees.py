"""Generated copies of long recordings with their folders, names, tables and errors.

They contain none of the data. Only the first and the last image of a recording can be
read; those between them are empty files.
"""

import itertools
from pathlib import Path

from tests.datasets.cas_me_2_tree import STIMULI, SUBJECTS
from tests.datasets.tree import RAW, touch, write_clip, write_xlsx

NAMES = ("cas_me_2", "casme3", "samm", "smic")

TABLES = {
    "cas_me_2": "CAS(ME)^2code_final.xlsx",
    "casme3": "annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
    "samm": "SAMM_LongVideos_V3_Release.xlsx",
    "smic": "HS_long/SMIC-HS-E_annotation.xlsx",
}
_HEADERS = {
    "casme3": ["Subject", "Filename", "Onset", "Apex", "Offset", "AU"]
    + ["Objective class", "emotion"],
    "samm": ["Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset"]
    + ["Duration", "Type", "Action Units", "Notes"],
    "smic": ["Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F"]
    + ["Onset3F", "Offset3F", None, "FirstF", "LastF", "TotalMF1", "TotalMF2"]
    + ["TotalMF3", "TotalVL", "Emotion"],
}
_SHEETS = {"casme3": "label", "smic": "HS"}


def rows_of(name: str) -> list[list[object]]:
    """Returns the cells of each row of a complete table, without its header."""
    return {
        "cas_me_2": _cas_me_2_rows,
        "casme3": _casme3_rows,
        "samm": _samm_rows,
        "smic": _smic_rows,
    }[name]()


def write_copy(folder: Path, name: str, rows: list[list[object]] | None = None) -> Path:
    """Writes all recordings and a table with these rows; returns the folder."""
    write_table(folder, name, rows_of(name) if rows is None else rows)
    for place, (path, names) in enumerate(_recordings(name).items()):
        numbers = sorted(names)
        ends = {number: names[number] for number in (numbers[0], numbers[-1])}
        write_clip(folder / path, place, ends, RAW)
        touch(folder / path, *(names[number] for number in numbers[1:-1]))
    return folder


def write_table(folder: Path, name: str, rows: list[list[object]]) -> None:
    """Writes the table."""
    cells = [_HEADERS[name], *rows] if name in _HEADERS else rows
    if name == "samm":  # a title above, so that the header is row 10
        cells = [["SAMM Long Videos"], *([None] for _ in range(8)), *cells]
    write_xlsx(folder / TABLES[name], cells, _SHEETS.get(name, "Sheet1"))


def _recordings(name: str) -> dict[str, dict[int, str]]:
    """Returns the path of each recording, and its files by frame number."""
    if name == "cas_me_2":
        return {
            f"rawpic/{'s19' if one == (23, 'happy1') else f's{one[0]}'}/"
            f"{one[0]}_{''.join(STIMULI[one[1]])}": {
                n: f"img{n:03d}.jpg" for n in range(1, 41)
            }
            for one in _cas_me_2_recordings()
        }
    if name == "samm":
        return {
            f"SAMM_longvideos/{one}": {n: f"{one}_{n:04d}.jpg" for n in range(1, 61)}
            for one in _samm_recordings()
        }
    if name == "smic":
        return {
            f"HS_long/SMIC-HS-E/s{int(clip.split('_')[0][1:]):02d}/{clip}": {
                n: f"image{n:06d}.jpg" for n in range(start, start + 60)
            }
            for clip, start in _smic_recordings().items()
        }
    # Those of the known errors are longer; numbers have gaps.
    ends = {(149, "d"): 200, (216, "d"): 2700, (40, "e"): 2410, (214, "c"): 3500}
    recordings = {}
    for subject, clip in _casme3_recordings():
        last = ends.get((subject, clip), 30)
        numbers = [n for n in range(1, last) if n % 10 == 9 or n < 30 and n % 30 != 12]
        path = f"part_A/spNO.{subject}/{clip}"
        recordings[f"{path}/color"] = {n: f"{n}.jpg" for n in numbers}
    return recordings


def _cas_me_2_recordings() -> list[tuple[int, str]]:
    """Returns subject and stimulus of 98 recordings; the last three have no row."""
    found = [(s, stimulus) for stimulus in STIMULI for s in SUBJECTS]
    found.remove((23, "happy1"))
    return [(23, "happy1"), *found[:97]]


def _cas_me_2_rows() -> list[list[object]]:
    emotions = ["negative"] * 21 + ["others"] * 19 + ["positive"] * 8 + ["surprise"] * 9
    labelled = itertools.cycle(_cas_me_2_recordings()[:95])
    rows = []
    for index, (subject, stimulus) in zip(range(357), labelled, strict=False):
        micro = index < len(emotions)
        place = index // 95
        onset = 2 + 9 * place
        offset = onset + 7
        rows.append(
            [1 + SUBJECTS.index(subject), f"{stimulus}_{place + 1}", onset, onset + 3]
            # Missing in 44 rows, all of them macro
            + [0 if index >= 357 - 44 else offset, "4+7"]
            + [emotions[index] if micro else "positive"]
            + ["micro-expression" if micro else "macro-expression", "disgust"]
        )
    return rows


def _samm_recordings() -> list[str]:
    return [f"{6 + n % 32:03d}_{1 + n // 32}" for n in range(147)]


def _samm_rows() -> list[list[object]]:
    rows = []
    recordings = _samm_recordings()
    for index in range(159 + 343):
        micro = index < 159
        of_type = index if micro else index - 159
        # 79 recordings have micro-expressions.
        recording = recordings[of_type % 79 if micro else of_type % 147]
        place = of_type // 79 if micro else of_type // 147
        onset = 3 + 10 * place + 5 * micro
        apex = -1 if index % 7 == 0 else onset + 4
        rows.append(
            [recording[:3], f"{recording}_{index}", 1, onset, apex, onset + 9, 10]
            + ["Micro - 1/2" if micro else "Macro", "AU4", None]
        )
    return rows


def _smic_recordings() -> dict[str, int]:
    """Returns the first frame of each of 157 recordings."""
    subjects = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14, 15, 18, 19, 20)
    clips = ["s18_sur_03", "s1_ne_03", "s3_ne_20", "s9_sur_01", "s18_po_01"]
    clips.append("s20_ne_01")
    for index in range(157 - len(clips)):
        emotion = ("ne", "po", "sur")[index % 3]
        clips.append(f"s{subjects[index % 16]}_{emotion}_{30 + index // 16}")
    return {clip: 175000 + 100 * index for index, clip in enumerate(clips)}


def _smic_rows() -> list[list[object]]:
    names = {"ne": "negative", "po": "positive", "sur": "surprise"}
    rows = []
    for index, (clip, first) in enumerate(_smic_recordings().items()):
        second = [first + 25, first + 34] if 10 <= index < 18 else [None, None]
        third = [None, None]
        ends: list[object] = [first, first + 59]
        subject, code, _ = clip.split("_")
        emotion = names[code]
        if clip == "s18_sur_03":
            emotion = "negative"
        if clip == "s1_ne_03":
            ends[1] = first - 50
        if clip == "s3_ne_20":
            ends[0] = "image175200"
        if clip == "s9_sur_01":
            second = third = [first + 25, first + 34]
        if clip in ("s18_po_01", "s20_ne_01"):
            third = [f"{first}.9x", None]
        rows.append(
            [int(subject[1:]), clip, None, first + 5, first + 14, *second, *third]
            + [None, *ends, 10, None, None, 60, emotion]
        )
    return rows


def _casme3_recordings() -> list[tuple[int, str]]:
    """Returns subject and clip of each recording; the last has no row."""
    special = [(149, "d"), (216, "d"), (216, "e"), (40, "e"), (214, "c")]
    others = [(1 + n % 94, "abcdefghijklm"[n // 94]) for n in range(290)]
    return [*special, *(one for one in others if one not in special), (300, "a")]


def _casme3_rows() -> list[list[object]]:
    emotions = ["disgust"] * 250 + ["surprise"] * 187 + ["others"] * 158
    emotions += ["Others"] * 3 + ["fear"] * 86 + ["anger"] * 64 + ["sad"] * 57
    emotions += ["happy"] * 55
    special = [
        (149, "d", 112, 83, 180),
        (216, "d", 3647, 2650, 2660),
        (216, "e", 0, 0, 20),
        (40, "e", 1812, 1830, 0),
        (40, "e", 2327, 2380, 0),
        (214, "c", 5, 900, 3460),
    ]
    rows = [[f"spNO.{s}", *map(str, numbers)] for s, *numbers in special]
    plain = itertools.cycle(_casme3_recordings()[5:-1])
    for index, (subject, clip) in zip(range(860 - 6), plain, strict=False):
        onset = 2 + 5 * (index // 250)
        rows.append([f"spNO.{subject}", clip, *map(str, (onset, onset, onset + 6))])
    return [
        [*row, "4+7", "1", emotion] for row, emotion in zip(rows, emotions, strict=True)
    ]
