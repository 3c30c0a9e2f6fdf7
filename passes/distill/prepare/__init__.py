"""Prepare a student for training, and bring back what was trained."""
