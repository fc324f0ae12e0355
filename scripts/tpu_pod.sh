#!/usr/bin/env bash
# One run of train.py on all hosts of a Cloud TPU slice:
#
#   ZONE=us-central2-b bash scripts/tpu_pod.sh my-tpu --dataset=casme2 \
#       --data_dir=/mnt/share/records --runs_dir=/mnt/share/runs
#
# The repository must be in ~/meranet on each host, with requirements-tpu.txt installed in
# .venv, and records and runs on a file system that all hosts mount. JAX finds the hosts
# (--coordinator=auto). After a preemption, the same command resumes the run.
#
# It has not been run on a TPU yet. The tests check that train.py accepts its flags.
set -euo pipefail
tpu=${1:?name of the TPU is missing: bash scripts/tpu_pod.sh NAME --dataset=...}
shift
command="cd ~/meranet && .venv/bin/python train.py --coordinator=auto"
exec gcloud compute tpus tpu-vm ssh "$tpu" --zone="${ZONE:?}" --worker=all \
    --command="$command $(printf '%q ' "$@")"
