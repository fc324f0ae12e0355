"""How programs end when they are interrupted or cannot do what was asked."""

import os
import signal
import subprocess
import sys

import pytest

from meranet_jax import program
from meranet_jax.errors import UserError
from meranet_jax.training.signals import Interrupted
from tests.programs import ROOT

# The first library that each program imports. The last one imports it when it is used.
LIBRARIES = {
    "train.py": "rich",
    "eval.py": "tyro",
    "saliency.py": "tyro",
    "reproduce.py": "rich",
    "predict.py": "tyro",
    "-m datasets.prepare": "filelock",
    "-m datasets.check": "numpy",
    "-m meranet_jax.convert": "numpy",
    "-m meranet_jax --info": "jax",
}

# A library that takes long, and turns an exception into one of its own
SLOW = """
import time

print("importing", flush=True)
try:
    time.sleep(60)
except BaseException:
    raise ImportError
"""


@pytest.mark.parametrize("name", LIBRARIES)
def test_interrupted_imports_have_no_traceback(name, tmp_path):
    (tmp_path / f"{LIBRARIES[name]}.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, *name.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "interrupted\n")


@pytest.mark.parametrize(
    "name, package, advice",
    [
        ("predict.py interview.mp4", "tyro", "source .venv/bin/activate"),
        ("-m meranet_jax serve", "uvicorn", 'pip install "meranet-jax[web]"'),
    ],
)
def test_a_package_that_is_not_installed_is_named(name, package, advice, tmp_path):
    missing = f'raise ModuleNotFoundError("No module named x", name="{package}")'
    (tmp_path / f"{package}.py").write_text(missing)
    done = subprocess.run(
        [sys.executable, *name.split()],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and package in done.stderr
    assert advice in done.stderr and "Traceback" not in done.stderr


def test_imports_of_a_library_can_be_interrupted_as_usual():
    with program.imports("datasets.prepare"):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with program.imports("__main__"):
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    "error, code, said",
    [
        (UserError("No such run."), "error: No such run.", ""),
        (KeyboardInterrupt(), 130, "interrupted; records are kept\n"),
        (Interrupted(signal.SIGTERM), 143, "interrupted (SIGTERM); records are kept\n"),
    ],
)
def test_a_program_ends_with_a_message(error, code, said, capsys):
    with pytest.raises(SystemExit) as ended, program.run("records are kept"):
        raise error
    assert ended.value.code == code
    assert capsys.readouterr().err == said


def test_an_error_of_the_program_itself_has_a_traceback():
    with pytest.raises(ZeroDivisionError), program.run():
        raise ZeroDivisionError
