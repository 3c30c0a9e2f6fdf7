"""Benchmarks of quantization."""
