"""The commands `distill` and `trainer`."""
