"""Attention made ready for lowering its ranks: a basis in which the last channels of each head matter least.

Between the layers of queries and keys and their product nothing but moving and scaling happens, and so it is
between the values and the layer behind the heads.  There a basis may change without any change of the
outputs, and once it is the best one, cutting its last channels off is the best approximation of that rank.

- ``basis``: The bases themselves: whitened singular value decompositions, head by head.
- ``change``: Write the weights of a model in these bases, and drop the biases that change nothing.
- ``price``: What lower ranks of queries and keys cost, as a share of what the attention goes into.
- ``separate``: One projection for queries, keys and values taken apart, so that each may have its own rank.
"""
