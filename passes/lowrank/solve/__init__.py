"""Decompositions and their ranks: white coordinates, splits in two, CP, variational Bayes.

- ``polyadic``: The canonical polyadic (CP) decomposition of a tensor of three axes by alternating least
  squares.
- ``splitting``: Split a layer in two of which the first sees only some axes of the kernel.
- ``vbmf``: How much of a matrix is signal: the rank of the global analytic solution of empirical variational
  Bayes.
- ``whitening``: White coordinates of a layer's inputs, in which dropping a direction costs exactly what it
  carries.
"""
