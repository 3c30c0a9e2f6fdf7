"""From a student to the graph that a trainer differentiates, and from trained parameters back.

- ``builder``: Writes small pieces of graph in place of a node.
- ``fixed``: Bring a model into the form that trainers read: sizes fixed, constants lifted, versions they
  know.
- ``losses``: The losses as a piece of graph behind the student: scalars that a trainer follows back.
- ``masks``: Weights that are zero stay zero: the graph multiplies a sparse weight by its mask.
- ``prepare``: From a student to the graph that a trainer differentiates, and from trained parameters back.
- ``select``: Choose what to train: the weights and biases of layers, unless the user says otherwise.
"""
