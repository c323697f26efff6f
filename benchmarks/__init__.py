"""Throughput, measured: ``python -m benchmarks.parse [--json]``."""
