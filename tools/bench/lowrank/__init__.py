"""Benchmarks of low-rank decomposition."""
