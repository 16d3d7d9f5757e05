"""`RayExecutor`: the tasks of a Ray cluster with the interface of `concurrent.futures`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from hfclient.errors import MissingDependencyError

__all__ = ["RayExecutor"]

_T = TypeVar("_T")


class RayExecutor(Executor):
    """Runs functions as tasks of Ray, for ``executor=`` of `InferenceClient.map` (extra: ray).

        ray.init()
        with RayExecutor(num_cpus=0.25) as executor:
            results = client.inference.map(prompts, executor=executor, model="Qwen/Qwen3-8B").results()

    A task whose worker dies runs again, as Ray's ``max_retries`` says.

    Args:
        workers: How many tasks run at a time; None for as many as the cluster has CPUs.
        options: Options of ``ray.remote``, such as ``num_cpus``, ``max_retries`` or ``runtime_env``.

    Raises:
        MissingDependencyError: Ray is not installed.

    Reference: https://docs.ray.io/en/latest/ray-core/api/doc/ray.remote.html
    """

    def __init__(self, workers: int | None = None, **options: Any) -> None:
        try:
            import ray as module
        except ImportError:
            raise MissingDependencyError("RayExecutor needs Ray: pip install 'hfclient[ray]'") from None
        ray: Any = module  # not all of it is typed
        if not ray.is_initialized():
            ray.init()
        self._max_workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1) / (options.get("num_cpus") or 1)))
        self._remote: Any = ray.remote(**options)(_call) if options else ray.remote(_call)
        self._is_shut_down = False

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[_T] = self._remote.remote(fn, args, kwargs).future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._is_shut_down = True


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)
