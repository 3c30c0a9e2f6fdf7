"""What can be counted: multiply-accumulates, parameters, bytes.

- ``layers``: What each node of a model costs.
- ``macs``: Multiply-accumulate operations of one node, from the shapes around it.
- ``parameters``: Which constants of a model are its parameters, and how many elements they have.
- ``shapes``: Shapes of the tensors around the layers of a model: inferred, and measured where inference
  cannot tell.
- ``totals``: What a whole model costs.
"""
