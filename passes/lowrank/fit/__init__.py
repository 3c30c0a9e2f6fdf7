"""Carry a plan out: put the parts in, fitted to what the original computed."""
