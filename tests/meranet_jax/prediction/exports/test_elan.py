"""Files of ELAN, read back with its Python library and as XML."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from meranet_jax.prediction.exports import elan
from tests.meranet_jax.prediction.predictions import event, face, prediction


def test_annotations_are_read_back(tmp_path):
    pympi = pytest.importorskip("pympi", reason="pympi-ling is not installed")
    times = prediction().times
    faces = (face(1, times), face(2, times))
    elan.write(prediction(faces=faces), tmp_path / "clip.eaf")
    read = pympi.Elan.Eaf(str(tmp_path / "clip.eaf"))
    assert sorted(read.get_tier_names()) == ["face 1", "face 2"]
    first, second, third = sorted(read.get_annotation_data_for_tier("face 1"))
    assert first[:2] == (400, 700) and second[:2] == (1500, 1900)
    assert "resembles clips labelled disgust in CASME II" in first[2]
    assert "no answer: several classes are plausible" in second[2]
    assert third[2].startswith("MERANet 3: macro candidate")
    assert read.get_annotation_data_for_tier("face 2") == []
    (media,) = read.get_linked_files()
    assert media["MIME_TYPE"] == "video/mp4"


def test_structure_is_that_of_the_schema(tmp_path):
    (tmp_path / "films").mkdir()
    source = tmp_path / "films" / "a b & c.MOV"
    events = [
        event(1, 1.0, 1.2, 1.4),
        event(2, 1.3, 1.4, 1.6, label="<smile> & \x00", origin="imported"),
        event(3, 1.4, 1.4, 1.4),
        event(4, 1.4, 1.5, 1.6),
    ]
    elan.write(prediction(events, source=source), tmp_path / "clip.eaf")
    root = ElementTree.parse(tmp_path / "clip.eaf").getroot()
    tags = [child.tag for child in root]
    assert re.fullmatch(
        "HEADER TIME_ORDER( TIER)* LINGUISTIC_TYPE( CONSTRAINT){4}", " ".join(tags)
    )
    (media,) = root.iter("MEDIA_DESCRIPTOR")
    assert media.get("RELATIVE_MEDIA_URL") == "./films/a b & c.MOV"
    assert media.get("MEDIA_URL") == "file:///a b & c.MOV"
    assert media.get("MIME_TYPE") == "video/quicktime"
    slots = {s.get("TIME_SLOT_ID"): s.get("TIME_VALUE") for s in root.iter("TIME_SLOT")}
    values = list(map(int, slots.values()))
    assert values == sorted(values)
    assert len({a.get("ANNOTATION_ID") for a in root.iter("ALIGNABLE_ANNOTATION")}) == 4
    intervals = {}
    for tier in root.iter("TIER"):
        of_tier = [
            (int(slots[a.get("TIME_SLOT_REF1")]), int(slots[a.get("TIME_SLOT_REF2")]))
            for a in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        for (start, end), following in zip(of_tier, [*of_tier[1:], None], strict=True):
            assert start < end and (following is None or end <= following[0])
        intervals[tier.get("TIER_ID")] = of_tier
    assert intervals == {
        "face 1": [(1000, 1400), (1400, 1401)],
        "face 1 overlap 2": [(1300, 1600)],
        "face 1 overlap 3": [(1400, 1600)],
    }
    texts = [value.text for value in root.iter("ANNOTATION_VALUE")]
    assert any("label <smile> & \ufffd" in text for text in texts)
