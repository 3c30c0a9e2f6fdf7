"""Benchmarks of what a run costs: start-up, time and memory of large and deep models."""
