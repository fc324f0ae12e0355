import copy
import dataclasses
import json

import jax
import pytest

from meranet_jax.errors import UserError
from meranet_jax.inputs import optical_flow
from meranet_jax.models.convolution import lowerings
from meranet_jax.runs import layout, plan_text, provenance, reader, writer
from tests.meranet_jax.loading import smallest
from tests.meranet_jax.running import plan, run


def test_differences_of_flow_are_described(config):
    now = provenance.describe_flow(config.change(input="flow"))
    assert provenance.describe_flow(config) is None
    assert provenance.flow_differences(now, json.loads(json.dumps(now))) == []
    assert provenance.flow_differences(None, now) == []
    assert provenance.flow_differences(now, None) == []
    before = copy.deepcopy(now)
    before["images"]["blur"] = 0.75
    before["libraries"] = ["OpenCV 4.10.0", "another 1.0"]
    del before["global_motion"]["model"]
    assert provenance.flow_differences(before, now) == [
        f"libraries OpenCV 4.10.0 and another 1.0, not {now['libraries'][0]}",
        "images.blur 0.75, not 0.5",
        "global_motion.model None, not similarity",
    ]
    assert provenance.flow_differences("damaged", now)


@pytest.fixture
def with_flow(tmp_path):
    """Settings of a run on flow, and a function that writes its ``data``."""
    config = smallest(tmp_path, input="flow")
    path = layout.run_path(config)
    path.mkdir()

    def write(data):
        saved = {"config": config.flags() | {"name": path.name}, "records": []}
        (path / "config.json").write_text(json.dumps(saved | {"data": data}))

    return config, path, write


def test_a_run_with_other_flow_cannot_be_resumed(with_flow, monkeypatch):
    config, path, write = with_flow
    write({"flow": optical_flow.describe("dis")})
    writer.check_free(config, path)
    version = optical_flow.VERSION
    monkeypatch.setattr(optical_flow, "VERSION", version + 1)
    message = f"resume .*{path}: .* with version {version}, not {version + 1}. Use .*--"
    with pytest.raises(UserError, match=message):
        writer.check_free(config, path)
    writer.check_free(config.change(overwrite=True), path)


@pytest.mark.parametrize("data", [{}, {"fingerprint": "2:ab"}, None])
def test_a_run_of_an_older_version_may_have_other_flow(with_flow, data):
    config, path, write = with_flow
    write(data)
    writer.check_free(config, path)


def test_a_start_records_how_convolutions_are_computed(config, clips, monkeypatch):
    monkeypatch.setenv(lowerings.VARIABLE, "planes")
    config = config.change(epochs=1, precision="fp32")
    finished = reader.read(run(config, clips))
    (start,) = finished.starts
    assert start["convolutions"] == "planes"
    jobs, _ = plan(config, clips)
    text = plan_text.describe_plan(finished, jobs, jobs)
    assert "convolutions: planes" in text and "last digits" not in text
    other = start | {"convolutions": "native (oneDNN 2.6.3)"}
    resumed = dataclasses.replace(finished, starts=[start, other])
    text = plan_text.describe_plan(resumed, jobs, jobs)
    assert "earlier starts of this run computed convolutions as planes, so" in text
    # Version 0.1 did not save this, and had one form.
    older = {n: value for n, value in start.items() if n != "convolutions"}
    resumed = dataclasses.replace(finished, starts=[older, start])
    assert "last digits" not in plan_text.describe_plan(resumed, jobs, jobs)
    resumed = dataclasses.replace(finished, starts=[older, other])
    assert "as planes, so" in plan_text.describe_plan(resumed, jobs, jobs)


def test_a_descriptor_has_no_convolutions(config):
    descriptor = config.change(model="lbp_top", input="raw")
    start = provenance.start(jax.devices()[:1], descriptor)
    assert start["convolutions"] is None
