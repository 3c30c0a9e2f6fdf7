"""Benchmarks of channel pruning."""
