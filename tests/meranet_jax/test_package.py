"""The wheel, the version, and what the package imports."""

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata

import pytest
import yaml

import meranet_jax
from meranet_jax import __main__ as command_line
from meranet_jax import version
from tests.programs import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = PROJECT["version"]

# Third-party modules of the extras, by which a core installation must do without.
EXTRAS = """
    IPython PIL array_record av cv2 filelock imageio matplotlib onnxruntime
    python_calamine skimage sklearn starlette tensorboard tensorflow_datasets tyro
    uvicorn
""".split()

COUNT_PARAMETERS = f"""
import functools, sys
sys.modules.update(dict.fromkeys({EXTRAS}))  # importing one of them raises
import jax
from meranet_jax import MERANet

model = MERANet(num_classes=3, width=4, stage_sizes=(1, 1))
clips = jax.numpy.zeros((1, 4, 16, 16, 3))
init = functools.partial(model.init, train=False)
variables = jax.eval_shape(init, jax.random.key(0), clips)  # compiles nothing
print(sum(leaf.size for leaf in jax.tree.leaves(variables["params"])))
print(*sorted(name for name in sys.modules if name.startswith("meranet_jax.")))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the checkout without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_the_wheel_holds_the_package_alone(wheel):
    information = f"meranet_jax-{VERSION}.dist-info/"
    held = {name for name in wheel.namelist() if not name.startswith(information)}
    modules = (ROOT / "meranet_jax").rglob("*.py")
    expected = {path.relative_to(ROOT).as_posix() for path in modules}
    page = (ROOT / "meranet_jax" / "web" / "static").iterdir()
    expected |= {path.relative_to(ROOT).as_posix() for path in page}
    assert "meranet_jax/web/static/page.js" in expected
    expected |= {
        "meranet_jax/py.typed",
        "meranet_jax/pretrained/flow.npz",
        "meranet_jax/pretrained/onset_apex_flow.calibration.json",
        "meranet_jax/pretrained/onset_apex_flow.npz",
    }
    assert held == expected
    assert f"{information}licenses/LICENSE" in wheel.namelist()


def test_the_core_requires_jax_flax_optax_and_numpy_only(wheel):
    text = wheel.read(f"meranet_jax-{VERSION}.dist-info/METADATA").decode()
    required = email.message_from_string(text).get_all("Requires-Dist")
    core = [line for line in required if "extra ==" not in line]
    names = {re.match(r"[\w-]+", line).group() for line in core}
    assert names == {"jax", "flax", "optax", "numpy"}
    # One pinned pair of jax and flax for each range of Python.
    pinned = [line for line in core if "==" in line.partition(";")[0]]
    assert len(pinned) == 4 and all("python_version" in line for line in pinned)


def test_the_model_needs_the_core_only():
    done = subprocess.run(
        [sys.executable, "-c", COUNT_PARAMETERS],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    parameters, modules = done.stdout.splitlines()
    assert int(parameters) > 1000
    rooms = {name.split(".")[1] for name in modules.split()}
    assert rooms <= {"cores", "errors", "models", "recognisers", "validation"}


def test_it_prints_its_version():
    code = "import runpy, sys; sys.modules['jax'] = None; sys.argv[1:] = ['--version']"
    code += "; runpy.run_module('meranet_jax', run_name='__main__', alter_sys=True)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"meranet-jax {meranet_jax.__version__}\n"


@pytest.mark.parametrize("arguments", ([], ["--help"]))
def test_it_prints_its_help(arguments, capsys):
    try:
        command_line.main(arguments)
    except SystemExit as stopped:
        assert stopped.code == 0
    text = capsys.readouterr().out
    assert "python -m meranet_jax [-h] [--version]" in text and "serve" in text


def test_it_describes_this_machine(capsys, monkeypatch):
    monkeypatch.setenv("MERANET_CONVOLUTION", "planes")
    command_line.main(["--info"])
    text = capsys.readouterr().out
    assert f"meranet-jax {meranet_jax.__version__}, Python 3" in text
    assert "devices: 4, cpu" in text
    assert "3-D convolutions on a CPU, float32: planes\n" in text
    assert "  primitive: works\n" in text
    assert "  onednn: not used: does not compute bfloat16\n" in text
    monkeypatch.setenv("MERANET_CONVOLUTION", "winograd")
    with pytest.raises(SystemExit, match="error: MERANET_CONVOLUTION=winograd names"):
        command_line.main(["--info"])


def test_a_checkout_that_is_not_installed_has_a_version(monkeypatch, tmp_path):
    def not_installed(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_installed)
    assert version._find_version() == VERSION
    monkeypatch.setattr(version, "__file__", str(tmp_path / "a" / "version.py"))
    assert version._find_version() == "unknown"
    (tmp_path / "pyproject.toml").write_text('project = {name = "b", version = "1"}')
    assert version._find_version() == "unknown"


def test_hooks_call_the_versions_of_make_lint():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    called = {
        requirement
        for repository in hooks
        for hook in repository["hooks"]
        for requirement in hook["additional_dependencies"]
    }
    assert called <= set(PROJECT["optional-dependencies"]["dev"])


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    assert citation["license"] == PROJECT["license"]
