"""Pairs of options of each pass, made from what the passes declare: honoured or refused, never an accident.

values    the values that an option is tried with, from its type, choices and bounds
covering  rows of values in which every pair occurs
subject   the small model, its samples, and what a run left behind
"""
