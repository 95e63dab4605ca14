"""A real cluster of Ray on this machine: two nodes, each with two CPUs as far as Ray is concerned."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

# Before Ray is imported. Nothing leaves the machine, nothing is given up because the machine is busy, and the
# actors have as much of it as the tests beside them.
os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_gcs_server_request_timeout_seconds": "120",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_worker_register_timeout_seconds": "240",
    "RAY_worker_niceness": "0",
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "20",
    "RAY_SERVE_MAX_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "20",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own, of its own ways
    import ray.data
    import ray.serve
    from ray.cluster_utils import Cluster

#: The ports that a node would otherwise wait for; it gives up after some seconds on a busy machine.
PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def node() -> dict[str, Any]:
    """The arguments of a small node."""
    with ExitStack() as opened:
        free = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        ports = [taken.getsockname()[1] for taken in free]
    return {"num_cpus": 2, "object_store_memory": 80 * 2**20, **dict(zip(PORTS, ports, strict=True))}


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    """The first node, to which this process is connected."""
    started = Cluster(initialize_head=True, head_node_args={**node(), "include_dashboard": False})
    ray.init(started.address, log_to_driver=False)
    yield started
    ray.shutdown()
    started.shutdown()


@pytest.fixture
def cluster(running_cluster: Cluster) -> Cluster:
    """The cluster with both of its nodes, whatever an earlier test has done to one."""
    if not running_cluster.worker_nodes:
        running_cluster.add_node(**node())
    return running_cluster
