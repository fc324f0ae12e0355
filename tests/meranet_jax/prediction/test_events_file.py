"""Reading of events that a user has found."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from meranet_jax.errors import DataError
from meranet_jax.prediction import events_file
from meranet_jax.prediction.events_file import ImportedEvent
from meranet_jax.prediction.exports import boris, elan, tables
from tests.meranet_jax.prediction.predictions import event, prediction, recognised

RECORDING = Path("recordings/clip.mp4")


def read(folder, text, name="events.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return events_file.read(path, RECORDING)


def fails(folder, text, *parts, **options):
    with pytest.raises(DataError) as caught:
        read(folder, text, **options)
    message = str(caught.value)
    missing = [part for part in parts if part not in message]
    assert not missing, message


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_seconds(separator, encoding, tmp_path):
    lines = ["Onset,offset,apex,face,label,remark", "1.5,2,1.7,2,smile ä,x", ",,,,,"]
    lines += ["3,3.25,,,,"]
    text = "\r\n".join(lines).replace(",", separator)
    assert read(tmp_path, text, encoding=encoding) == [
        ImportedEvent(1.5, 2.0, 1.7, "seconds", 2, "smile ä"),
        ImportedEvent(3.0, 3.25, None, "seconds", None, ""),
    ]


def test_frames(tmp_path):
    text = "onset_frame,apex_frame,offset_frame\n10,14,20\n0,,3\n"
    assert read(tmp_path, text) == [
        ImportedEvent(10, 20, 14, "frames", None, ""),
        ImportedEvent(0, 3, None, "frames", None, ""),
    ]


GIVEN = [
    event(1, 0.4, 0.5, 0.7, label="=smile", recognition=recognised(0.7, 0.2, 0.1)),
    event(2, 0.6, 0.65, 0.9, label="", recognition=recognised(0.7, 0.2, 0.1)),
    event(3, 1.4, 2.0, 2.6, label="'x", origin="imported"),
]


def test_own_tables_are_read_again(tmp_path):
    tables.write_events_csv(prediction(GIVEN), tmp_path / "events.csv")
    read = events_file.read(tmp_path / "events.csv", RECORDING)
    # Both times and frames are in it, and are compared when they are used.
    assert read[0].frames == {"onset": 13, "offset": 22, "apex": 16}
    assert [dataclasses.replace(one, frames={}) for one in read] == [
        ImportedEvent(0.4, 0.7, 0.5, "seconds", 1, "=smile"),
        ImportedEvent(0.6, 0.9, 0.65, "seconds", 1, ""),
        ImportedEvent(1.4, 2.6, 2.0, "seconds", 1, "'x"),
    ]


def test_own_projects_and_annotations_are_read_again(tmp_path):
    made = prediction(GIVEN)
    boris.write(made, tmp_path / "clip.boris")
    found = events_file.read(tmp_path / "clip.boris", RECORDING)
    assert [(one.onset, one.apex, one.offset, one.face) for one in found] == [
        (0.4, 0.5, 0.7, 1),
        (0.6, 0.65, 0.9, 1),
        (1.4, 2.0, 2.6, 1),
    ]
    assert [one.label for one in found] == ["=smile", "", "'x"]
    elan.write(made, tmp_path / "clip.eaf")
    found = events_file.read(tmp_path / "clip.eaf", RECORDING)
    intervals = [(one.onset, one.offset, one.face) for one in found]
    assert intervals == [(0.4, 0.7, 1), (0.6, 0.9, 1), (1.4, 2.6, 1)]
    assert [one.label for one in found] == ["=smile", "", "'x"]


@pytest.mark.parametrize(
    ("old", "new", "label"),
    [
        ('"disgust"', '"surprise"', "surprise"),  # another class
        ("MERANet micro candidate", "raised brow", "raised brow (disgust)"),
    ],
)
def test_labels_of_projects_are_those_that_the_user_has_changed(
    old, new, label, tmp_path
):
    boris.write(prediction([GIVEN[1]]), tmp_path / "clip.boris")
    text = (tmp_path / "clip.boris").read_text(encoding="ascii")
    (found,) = read(tmp_path, text.replace(old, new), "changed.boris")
    assert found.label == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (r"\g<0>; brow", "brow"),
        (r"\g<0>; label brow; lid", "brow; lid"),
        ("raised brow", "raised brow"),
        ("MERANet is wrong", "MERANet is wrong"),
    ],
)
def test_labels_of_annotations_are_those_that_the_user_has_written(
    text, label, tmp_path
):
    elan.write(prediction([GIVEN[1]]), tmp_path / "clip.eaf")
    content = (tmp_path / "clip.eaf").read_text(encoding="utf-8")
    changed, count = re.subn("MERANet 2: .*? s(?=<)", text, content)
    (found,) = read(tmp_path, changed, "changed.eaf")
    assert (count, found.label) == (1, label)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ("2,1,", ("line 2", "offset 1 is before the onset 2")),
        ("1,x,", ("line 2", "'x', which is not a number", "such as 1.25")),
        ("1,,", ("the offset is empty",)),
        ("1,nan,", ("'nan', which is not a number",)),
        ("1,inf,", ("'inf', which is not a number",)),
        ("1,1e999,", ("not a number",)),
        ("1,1_0,", ("not a number",)),
        ("-1,2,", ("the onset is negative, -1",)),
        ("1,00:02.5,", ("hours, minutes and seconds",)),
        ('1,"2,5",', ("the offset is 2,5", "point as the decimal separator")),
        ("1,5,2,5", ("expected 3 values", "point as the decimal separator")),
        ("1,2", ("found 2", "Complete the line")),
        ("1,2,3", ("the apex 3 is not between the onset 1 and the offset 2",)),
        ('1,"2,', ("cannot be read as CSV",)),
    ],
)
def test_wrong_rows(row, parts, tmp_path):
    fails(tmp_path, f"onset,offset,apex\n{row}\n", *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("is empty", "onset and offset")),
        (" \n\n", ("is empty",)),
        ("onset,offset\n", ("a header but no events",)),
        ("start,end\n1,2\n", ("no column onset", "'start,end'")),
        ("onset,end\n1,2\n", ("no column offset",)),
        ("onset,offset_frame\n1,2\n", ("no column offset", "different units")),
        ("onset,offset,apex_frame\n1,2,3\n", ("column apex_frame", "in seconds")),
        ("onset,offset,onset\n1,2,3\n", ("2 columns named onset",)),
        ("onset_frame,offset_frame\n1.5,2\n", ("the number of a frame",)),
        ("onset,offset,face\n1,2,Ann\n", ("the face is 'Ann'",)),
        (b"PK\3\4", ("is an Excel workbook",)),
        ("onset,offset,label\n1,2,ä\n".encode("latin-1"), ("line 2", "UTF-8")),
        (b"onset\0", ("not a text file",)),
    ],
)
def test_wrong_tables(text, parts, tmp_path):
    fails(tmp_path, text, *parts)


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="no file"):
        events_file.read(tmp_path / "events.csv", RECORDING)
    with pytest.raises(DataError, match="is a folder"):
        events_file.read(tmp_path, RECORDING)


# As BORIS 10.0.2 exports events
TABULAR = (
    "Observation id,Observation date,Description,Observation duration,Observation type,"
    "Source,Time offset (s),Media duration (s),FPS,Subject,Behavior,"
    "Behavioral category,Modifier #1,Behavior type,Time,Media file name,Image index,"
    "Image file path,Comment\n"
)


def coded(*events, observation="A", media="films/clip.mp4", shift="0.0"):
    """Rows of subject, behavior, status and time."""
    return TABULAR + "".join(
        f"{observation},2026-01-02,,3.2,Media file(s),player #1:{media},{shift},4.033,"
        f"30.000,{subject},{code},,,{status},{time},{media},12,NA,\n"
        for subject, code, status, time in events
    )


STATES = (
    *(("Ann", "smile", "START", "1.000"), ("face 2", "smile", "START", "1.200")),
    *(("Ann", "apex", "POINT", "1.100"), ("Ann", "smile", "STOP", "1.500")),
    ("face 2", "smile", "STOP", "1.600"),
)


@pytest.mark.parametrize("separator", [",", "\t"])
def test_table_of_boris(separator, tmp_path):
    expected = [
        ImportedEvent(1.0, 1.5, 1.1, "seconds", None, "smile"),
        ImportedEvent(1.2, 1.6, None, "seconds", 2, "smile"),
    ]
    text = coded(*STATES).replace(",", separator)
    assert read(tmp_path, text) == expected
    other = coded(STATES[0], observation="B", media="other.mp4").splitlines()[1]
    assert read(tmp_path, coded(*STATES) + other) == expected
    moved = read(tmp_path, coded(*STATES, shift="0.5"))
    assert [one.onset for one in moved] == [0.5, 0.7]


def test_table_of_intervals_of_boris(tmp_path):
    text = (
        "Observation id,Subject,Behavior,Behavior type,Start (s),Stop (s),"
        "Media file name,Comment start,Comment stop\n"
        "A,face 1,smile,STATE,2.0,2.4,clip.mp4,,\n"
        "A,face 1,smile,STATE,1.0,1.5,clip.mp4,,\n"
        "A,face 1,apex,POINT,2.25,2.25,clip.mp4,,\n"
    )
    assert read(tmp_path, text) == [
        ImportedEvent(1.0, 1.5, None, "seconds", 1, "smile"),
        ImportedEvent(2.0, 2.4, 2.25, "seconds", 1, "smile"),
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (coded(*STATES[:3]), ("'smile' of subject 'Ann' at 1 s has no stop",)),
        (coded(*STATES[2:]), ("'smile' of subject 'Ann' at 1.5 s has no start",)),
        (coded(("Ann", "nod", "POINT", "1.0")), ("'nod' at 1 s is a point event",)),
        (coded(*STATES, ("Ann", "apex", "POINT", "3.0")), ("is in 0 states",)),
        (coded(*STATES, ("Ann", "apex", "POINT", "1.2")), ("another one",)),
        (coded(("Ann", "smile", "?", "1.0")), ("Expected START, STOP or POINT",)),
        (coded(*STATES, media="other.mp4"), ("no events of clip.mp4", "other.mp4")),
        (coded(*STATES, shift="2"), ("before the time offset",)),
        (
            coded(*STATES) + coded(*STATES, observation="B").split("\n", 1)[1],
            ("2 observations of clip.mp4: A, B",),
        ),
        (
            coded(*STATES) + coded(STATES[0], media="b.mp4").split("\n", 1)[1],
            ("several media in one observation: clip.mp4, b.mp4",),
        ),
    ],
)
def test_wrong_tables_of_boris(text, parts, tmp_path):
    fails(tmp_path, text, *parts)


def project(*observations):
    """A project of BORIS with observations of media and events."""
    return {
        "project_format_version": "7.0",
        "behaviors_conf": {
            "0": {"code": "smile", "type": "State event"},
            "1": {"code": "apex", "type": "Point event"},
        },
        "observations": {
            f"obs {index}": {
                "type": "MEDIA",
                "file": {"1": list(media), "2": []},
                "time offset": 0.0,
                "events": [list(event) for event in events],
                "media_info": {"offset": {"1": 0.0}},
            }
            for index, (media, events) in enumerate(observations)
        },
    }


SMILE = [
    (1.5, "Ann", "smile", "None", "", 45),
    (1.1, "Ann", "apex", "", "", 33),
    (1.0, "Ann", "smile", "None", "", 30),
]
CLIP = (["C:\\films\\clip.mp4"], SMILE)
OTHER = (["other.mp4"], [(0.0, "", "smile", "", "", 1)])


def test_project_of_boris_with_several_observations(tmp_path):
    text = json.dumps(project(OTHER, CLIP))
    expected = [ImportedEvent(1.0, 1.5, 1.1, "seconds", None, "smile")]
    assert read(tmp_path, text, "a.boris") == expected


@pytest.mark.parametrize(
    ("made", "parts"),
    [
        (project(OTHER), ("no observation of clip.mp4", "other.mp4")),
        (project(CLIP, CLIP), ("2 observations of clip.mp4: obs 0, obs 1",)),
        (project((["a.mp4", "clip.mp4"], SMILE)), ("2 files after one another",)),
        (project((["clip.mp4"], SMILE[1:])), ("at 1 s has no stop",)),
        (project((["clip.mp4"], [])), ("has no events",)),
        (
            project((["clip.mp4"], [(1.0, "", "nod", "", "", 1)])),
            ("'nod' is not in the ethogram",),
        ),
        (
            project((["clip.mp4"], [(float("nan"), "", "smile", "", "", 1)])),
            ("'nan', which is not a number",),
        ),
        ({"observations": {}}, ("not a project of BORIS",)),
        ([1], ("not a project of BORIS",)),
    ],
)
def test_wrong_projects_of_boris(made, parts, tmp_path):
    fails(tmp_path, json.dumps(made), *parts, name="a.boris")


def test_labels_of_boris_can_be_written(tmp_path):
    made = project(CLIP)
    made["behaviors_conf"]["0"]["code"] = "\ud800"
    for row in made["observations"]["obs 0"]["events"]:
        row[2] = row[2].replace("smile", "\ud800")
    (found,) = read(tmp_path, json.dumps(made), "a.boris")
    assert found.label == "?"


def test_projects_with_offsets_and_damage(tmp_path):
    made = project(CLIP)
    made["observations"]["obs 0"]["media_info"]["offset"]["1"] = 2.0
    fails(tmp_path, json.dumps(made), "with an offset", name="a.boris")
    made["observations"]["obs 0"]["media_info"]["offset"]["1"] = 10**400
    fails(tmp_path, json.dumps(made), "not a project of BORIS", name="a.boris")
    fails(tmp_path, '{"observations":', "not a project of BORIS", name="a.boris")
    fails(tmp_path, "[" * 100_000, "not a project of BORIS", name="a.boris")


EAF = """<?xml version="1.0" encoding="UTF-8"?>{doctype}
<ANNOTATION_DOCUMENT FORMAT="3.0" VERSION="3.0">
<HEADER TIME_UNITS="{unit}"><MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/a b/{media}"
 {origin} MIME_TYPE="video/mp4"/></HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="{onset}"/>
<TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1250"/><TIME_SLOT TIME_SLOT_ID="ts3"/>
</TIME_ORDER>
<TIER TIER_ID="Face 2"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1"
 TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="{end}"><ANNOTATION_VALUE>{text}</ANNOTATION_VALUE>
</ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="comments"><ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a2"
 ANNOTATION_REF="a1"><ANNOTATION_VALUE>?</ANNOTATION_VALUE></REF_ANNOTATION>
</ANNOTATION></TIER></ANNOTATION_DOCUMENT>"""


def eaf(**changed):
    values = {"doctype": "", "unit": "milliseconds", "media": "clip.mp4", "origin": ""}
    values |= {"onset": "1000", "end": "ts2", "text": "smile &amp; ä"}
    return EAF.format(**values | changed)


def test_file_of_elan(tmp_path):
    found = read(tmp_path, eaf(), "a.eaf")
    assert found == [ImportedEvent(1.0, 1.25, None, "seconds", 2, "smile & ä")]


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({"media": "other.mp4"}, ("linked with other.mp4, not with clip.mp4",)),
        ({"unit": "PAL-frames"}, ("times in PAL-frames",)),
        ({"origin": 'TIME_ORIGIN="40"'}, ("with an offset",)),
        ({"onset": "1300"}, ("tier Face 2, a1", "before the onset")),
        ({"onset": "-3"}, ("negative",)),
        ({"end": "ts3"}, ("has no time",)),
        ({"end": "ts4"}, ("has no time",)),
        ({"text": "&unknown;"}, ("damaged or not a file of ELAN",)),
        (
            {"doctype": '<!DOCTYPE a [<!ENTITY e "eeee">]>', "text": "&e;"},
            ("document type (DOCTYPE)",),
        ),
        (
            {"doctype": '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>'},
            ("document type (DOCTYPE)",),
        ),
    ],
)
def test_wrong_files_of_elan(changed, parts, tmp_path):
    fails(tmp_path, eaf(**changed), *parts, name="a.eaf")


def test_other_xml(tmp_path):
    fails(tmp_path, "<svg/>", "begins with svg", name="a.eaf")
    fails(tmp_path, "onset,offset\n", "damaged or not a file", name="a.eaf")
