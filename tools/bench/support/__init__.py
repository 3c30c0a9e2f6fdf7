"""What the benchmarks share: models, peers, measuring, tables."""
