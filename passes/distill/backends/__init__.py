"""Trainers behind one protocol."""
