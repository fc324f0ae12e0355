#!/usr/bin/env bash
# One run of train.py on all hosts of a Cloud TPU slice:
#
#   ZONE=us-central2-b bash scripts/tpu_pod.sh my-tpu --dataset=casme2 \
#       --data_dir=/mnt/share/records --runs_dir=/mnt/share/runs
#
# The repository lies in ~/meranet on each host, with requirements-tpu.txt installed in
# .venv; records and runs on a file system that all of them mount. JAX finds the hosts by
# itself (--coordinator=auto). After a preemption the same command goes on.
#
# Nobody has run it on a TPU yet; what is checked is that train.py takes its flags.
set -euo pipefail
tpu=${1:?which TPU? bash scripts/tpu_pod.sh NAME --dataset=...}
shift
command="cd ~/meranet && .venv/bin/python train.py --coordinator=auto"
exec gcloud compute tpus tpu-vm ssh "$tpu" --zone="${ZONE:?}" --worker=all \
    --command="$command $(printf '%q ' "$@")"
