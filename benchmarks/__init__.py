"""Benchmarks, one command each: `python -m benchmarks.quality` and its neighbours."""
