"""Overhead of engines: a row through Ray Data and Dask, with `BatchCall` and with a function that returns its batch, beside plain `map`.

    python -m benchmarks.clusters                 # Ray and Dask, as far as they are installed
    python -m benchmarks.clusters --rows 20000 --rounds 3

All rows are answered by a server on this machine, which is a process of its own, in the same number of processes. Times are by the clock,
per row, without the start of the cluster and the first batch of each worker. What counts are the ratios of one run: rounds of all ways
alternate, and the median is printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from hfclient import Client
from hfclient.batch import BatchCall

_BATCH = 256
_PROCESSES = 2


def identity(batch: Any) -> Any:
    """Return the batch: what the engine itself costs."""
    return batch


@contextmanager
def server() -> Iterator[str]:
    """Run a server that answers at once, in a process of its own; yield its URL."""
    with subprocess.Popen([sys.executable, "-m", "tests.batch.fault_server"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def with_map(url: str, prompts: list[str], stack: ExitStack) -> dict[str, Callable[[], int]]:
    """Plain `map`, in this process and in two."""
    client = stack.enter_context(Client(inference_url=url, token="", cookies="", session=""))
    pool = stack.enter_context(ProcessPoolExecutor(_PROCESSES))

    def count(**options: Any) -> int:
        return sum(result.ok for result in client.inference.map(prompts, model="m", **options))

    return {"map": count, "map, 2 processes": lambda: count(executor=pool)}


def with_dask(ask: BatchCall, prompts: list[str], stack: ExitStack) -> dict[str, Callable[[], int]]:
    """Bags on a cluster of two processes."""
    import dask.bag
    import distributed

    cluster = stack.enter_context(
        distributed.LocalCluster(n_workers=_PROCESSES, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.ERROR)
    )
    stack.enter_context(distributed.Client(cluster))
    rows = [{"prompt": prompt} for prompt in prompts]

    def run(function: Callable[[Any], Any]) -> int:
        return len(dask.bag.from_sequence(rows, partition_size=_BATCH).map_partitions(function).compute())

    return {"Dask, identity": lambda: run(identity), "Dask, BatchCall": lambda: run(ask)}


def with_ray(ask: BatchCall, prompts: list[str], stack: ExitStack) -> dict[str, Callable[[], int]]:
    """Ray Data, tasks in two processes."""
    import ray

    ray.init(num_cpus=_PROCESSES, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, object_store_memory=100 << 20)
    stack.callback(ray.shutdown)
    context: Any = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = ray.data.from_items([{"prompt": prompt} for prompt in prompts], override_num_blocks=_PROCESSES * 4).materialize()

    def run(function: Callable[[Any], Any]) -> int:
        return int(rows.map_batches(function, batch_size=_BATCH, batch_format="pyarrow").materialize().count())

    return {"Ray Data, identity": lambda: run(identity), "Ray Data, BatchCall": lambda: run(ask)}


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    prompts = [f"prompt {number}" for number in range(options.rows)]
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    with ExitStack() as stack:
        url = stack.enter_context(server())
        ask = BatchCall(inference_url=url, model="m")
        ways = with_map(url, prompts, stack)
        for name, package, more in (("dask", "distributed", with_dask), ("ray", "ray", with_ray)):
            if importlib.util.find_spec(package) is None:
                print(f"{name} is not installed")
            else:
                ways |= more(ask, prompts, stack)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for round_ in range(options.rounds + 1):
            for name, run in ways.items():
                start = time.perf_counter()
                assert run() == len(prompts), name
                if round_:  # the first one starts processes and connections
                    times[name].append((time.perf_counter() - start) / len(prompts) * 1000)
    base = statistics.median(times["map"])
    print(f"{'':22}  ms for a row  beside map")
    for name, found in times.items():
        print(f"{name:22}  {statistics.median(found):12.3f}  {statistics.median(found) / base:10.2f}")


if __name__ == "__main__":
    main()
