"""Tests of the cluster scripts that need no cluster."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from meranet_jax.flags import parse

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda p: p.name)
def test_bash_syntax(script):
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda p: p.name)
def test_flags_of_the_examples_are_valid(script):
    (example,) = re.findall(
        r"^#   (.* scripts/\S+\.sh .*(?:\n#       .*)*)",
        script.read_text(),
        re.MULTILINE,
    )
    arguments = shlex.split(example.replace("\\\n#", ""))
    flags = [one for one in arguments if one.startswith("--")]
    assert len(flags) > 1
    assert parse(flags).dataset == "casme2"


def test_flags_of_the_pods(monkeypatch):
    text = (SCRIPTS / "kubernetes.yaml").read_text()
    (job,) = yaml.safe_load(text)["spec"]["replicatedJobs"]
    job = job["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    python, program, *flags = container["command"]
    assert (python, program) == ("python", "train.py")
    flags = [flag.replace("$(JOB_COMPLETION_INDEX)", "3") for flag in flags]
    config = parse(flags)
    assert config.num_processes == job["completions"] == job["parallelism"]
    assert config.process_id == 3
    port = container["ports"][0]["containerPort"]
    assert config.coordinator.endswith(f":{port}")


def test_jobs_of_slurm_loso(tmp_path):
    """Runs slurm_loso.sh with an sbatch that only records its arguments."""
    fake = tmp_path / "sbatch"
    fake.write_text(
        '#!/usr/bin/env bash\nprintf "%q " "$@" >> "$0.arguments"\n'
        'echo >> "$0.arguments"\nwc -l < "$0.arguments"\n'
    )
    fake.chmod(0o755)
    done = subprocess.run(
        [
            "bash",
            "scripts/slurm_loso.sh",
            "8",
            "name",
            "--dataset=casme2",
            "--table=a b",
        ],
        cwd=SCRIPTS.parent,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SBATCH_FLAGS": "--gpus=1 -p gpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        "job 1 prepares, array 2 trains 8 parts, job 3 merges them\n"
    )
    jobs = [
        shlex.split(line) for line in Path(f"{fake}.arguments").read_text().splitlines()
    ]
    assert all(job[:4] == ["--parsable", "--gpus=1", "-p", "gpu"] for job in jobs)
    first, array, last = jobs
    prepare = shlex.split(first[-1])
    assert parse(prepare[2:]).settings.compile_ahead
    assert parse(prepare[2:]).table == ("a b",)
    assert "--array=1-8" in array and "--dependency=afterok:1" in array
    arguments = array[array.index("scripts/slurm_loso.sh") :]
    assert arguments[1] == "8" and parse(arguments[4:]).protocol == "loso"
    assert "--dependency=afterok:2" in last
    assert last[-1].split() == [
        ".venv/bin/python",
        "eval.py",
        "--merge",
        "runs/name-shard*",
    ]
