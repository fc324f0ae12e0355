"""The scripts for clusters, as far as they can be checked without one."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from meranet_jax.flags import parse

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda p: p.name)
def test_bash_reads_them(script):
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda p: p.name)
def test_train_takes_the_flags_of_their_examples(script):
    (example,) = re.findall(
        r"^#   (.* scripts/\S+\.sh .*(?:\n#       .*)*)",
        script.read_text(),
        re.MULTILINE,
    )
    words = shlex.split(example.replace("\\\n#", ""))
    flags = [word for word in words if word.startswith("--")]
    assert len(flags) > 1
    assert parse(flags).dataset == "casme2"


def test_the_pods_flags(monkeypatch):
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


def test_what_slurm_is_asked_for(tmp_path):
    """The three jobs of slurm_loso.sh, by an sbatch that only notes its words."""
    fake = tmp_path / "sbatch"
    fake.write_text(
        '#!/usr/bin/env bash\nprintf "%q " "$@" >> "$0.said"\n'
        'echo >> "$0.said"\nwc -l < "$0.said"\n'
    )
    fake.chmod(0o755)
    done = subprocess.run(
        ["bash", "scripts/slurm_loso.sh", "8", "it", "--dataset=casme2", "--table=a b"],
        cwd=SCRIPTS.parent,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SBATCH_FLAGS": "--gpus=1 -p gpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ("job 1 prepares, array 2 trains 8 parts, job 3 pools them\n")
    jobs = [shlex.split(line) for line in Path(f"{fake}.said").read_text().splitlines()]
    assert all(job[:4] == ["--parsable", "--gpus=1", "-p", "gpu"] for job in jobs)
    first, array, last = jobs
    prepare = shlex.split(first[-1])
    assert parse(prepare[2:]).settings.compile_ahead
    assert parse(prepare[2:]).table == "a b"
    assert "--array=1-8" in array and "--dependency=afterok:1" in array
    words = array[array.index("scripts/slurm_loso.sh") :]
    assert words[1] == "8" and parse(words[4:]).protocol == "loso"
    assert "--dependency=afterok:2" in last
    assert last[-1].split() == [
        ".venv/bin/python",
        "eval.py",
        "--merge",
        "runs/it-shard*",
    ]
