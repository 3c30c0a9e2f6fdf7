"""The training worker: run by the interpreter of a training environment, which knows nothing of graphopt.

It imports numpy and the library of its engine alone, reads and writes in its job folder alone, speaks JSON
lines on what was its stdout, and listens on stdin.  Python 3.8 and later.
"""
