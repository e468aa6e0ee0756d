"""Sweeps that outgrow one machine: the same numbers from a Dask cluster as from this process."""

from __future__ import annotations

import pytest

from sim import ScenarioError, load, replicate


def test_without_dask_or_without_a_scheduler_it_says_what_to_do():
    """No Dask, or nobody at the address: a sentence with the next step, no traceback, nothing half done."""
    with pytest.raises(ScenarioError) as caught:
        replicate(load("county-hospital"), 2, 1, cluster="nowhere")
    assert caught.value.code == "NO_CLUSTER"


def test_a_cluster_gives_the_numbers_of_one_process():
    """Two workers of a real scheduler play the replications to the same figures, number by number."""
    distributed = pytest.importorskip(
        "distributed", reason="Dask distributed (nat-lis[cluster]) is not installed"
    )
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        far = replicate(load("county-hospital"), 6, 3, cluster=cluster.scheduler_address)
    near = replicate(load("county-hospital"), 6, 3, workers=1)
    assert far.runs == near.runs
