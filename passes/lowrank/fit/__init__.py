"""Carry a plan out: put the parts in, fitted to what the original computed.

- ``apply``: Carry out what a plan asks for, with samples or without.
- ``fitting``: Carry a plan out: every layer in order is split, or fitted anew, to what the original network
  computed.
- ``surgery``: Put the layers that a layer becomes in its place.
"""
