"""The layers that can be split, and what the samples say about them."""
