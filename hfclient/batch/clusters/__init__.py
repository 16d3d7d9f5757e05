"""Batches on other machines and processes: `BatchCall` for Ray, Dask, Spark and datasets, and the engine of ``executor=``."""
