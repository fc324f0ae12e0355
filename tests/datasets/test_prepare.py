import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datasets import DataError
from datasets.prepare import builder, prepare
from tests.datasets.casme2_tree import write_tree

ROOT = Path(__file__).parents[2]


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "datasets.prepare", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("casme3", "no data set named 'casme3'.*mean casme.*synthetic, casme, casme2"),
        ("synthetic/hrd", "configuration of synthetic.*mean hard.*medium, easy, hard"),
        ("../synthetic", r"no data set named '\.\.'"),
    ],
)
def test_unknown_names_list_the_valid_ones(name, message):
    with pytest.raises(DataError, match=message):
        builder(name)


def test_a_licensed_data_set_says_what_to_get_and_how_it_should_lie(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for manual_dir, found in (
        (None, "give your copy with --manual_dir"),
        (tmp_path / "absent", "absent is not a folder"),
        (empty, "empty is empty"),
    ):
        with pytest.raises(DataError, match=found) as error:
            prepare("casme2", manual_dir=manual_dir, data_dir=tmp_path / "data")
        assert "apply for it at" in str(error.value)
        assert "CASME2-coding-20190701.xlsx" in str(error.value)
    assert not list(tmp_path.glob("data/casme2/*/1.0.0"))


def test_a_command_ends_with_one_message(tmp_path):
    failed = command("casme2", f"--data_dir={tmp_path}")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: casme2 is licensed")
    assert "Traceback" not in failed.stderr


def test_a_full_disk_leaves_no_records(tmp_path):
    write_tree(tmp_path / "copy")

    def limit_file_size():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))
        # Else the kernel ends the process instead of refusing the write.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    failed = command(
        "casme2",
        f"--manual_dir={tmp_path / 'copy'}",
        f"--data_dir={tmp_path / 'data'}",
        preexec_fn=limit_file_size,
    )
    assert failed.returncode == 1
    assert "error: The records cannot be written" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list(tmp_path.glob("data/casme2/apex*/*"))
