"""Benchmarks, one module per question; run each one as ``python -m benchmarks.NAME``."""
