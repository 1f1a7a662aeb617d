#!/bin/bash
#SBATCH --job-name=raypath
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem=96G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#
# One run on the nodes of a SLURM allocation:
#   sbatch cluster/deploy/slurm.sh /data/manifest.csv /data/out /data/run.toml
# Two minutes before the time is up the run is ended cleanly; submit the same again to go on.
# raypath has to be on the PATH of every node (an activated environment, or a module).
set -euo pipefail

manifest=$1 out=$2 config=$3

# One token for this cluster: without it anyone on the network could run code on the nodes.
RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
# A port of our own: several jobs may share a node.
port=$((20000 + SLURM_JOB_ID % 20000))

on_node() { # on_node NODE COMMAND...
    local node=$1
    shift
    srun --nodes=1 --ntasks=1 --overlap --nodelist="$node" "$@"
}

# shellcheck disable=SC2329  # the trap below calls it
stop() {
    trap - TERM
    if [[ -n ${run:-} ]]; then
        kill -TERM "$run"
        wait "$run" || true
    fi
}
trap stop TERM

# What the allocation has on each node, and no more: Ray would take all of the machine's memory.
cpus=${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}
mib=${SLURM_MEM_PER_NODE:-$((${SLURM_MEM_PER_CPU:-0} * cpus))} # 0: SLURM does not say
share=(--num-cpus="$cpus" --object-store-memory=$((256 << 20)))
if ((mib > 0)); then
    share+=(--memory=$((mib * 8 / 10 << 20))) # for tasks; Ray and the driver have the rest
fi

on_node "$head" ray start --head --block --port="$port" --include-dashboard=false \
    "${share[@]}" --disable-usage-stats &
head_pid=$!
until on_node "$head" ray health-check --address "$head:$port" > /dev/null 2>&1; do
    if ! kill -0 "$head_pid" 2> /dev/null; then
        echo "Ray did not start on $head: see what it said above" >&2
        wait "$head_pid" || exit
        exit 1
    fi
    sleep 2
done

for node in "${nodes[@]:1}"; do
    on_node "$node" ray start --block --address="$head:$port" \
        "${share[@]}" --disable-usage-stats &
done

# It begins on the nodes that are there; the others have work as soon as they join.
raypath run "$manifest" -o "$out" --config "$config" --address "$head:$port" &
run=$!
code=0
wait "$run" || code=$?
exit "$code" # SLURM ends what still runs on the nodes
