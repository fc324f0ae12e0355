import copy
import json

import pytest

from meranet_jax.errors import UserError
from meranet_jax.inputs import optical_flow
from meranet_jax.runs import layout, provenance, writer
from tests.meranet_jax.loading import smallest


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
