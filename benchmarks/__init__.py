"""Benchmarks, one file a question; run each as ``python -m benchmarks.NAME``."""
