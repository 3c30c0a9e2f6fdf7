"""Convolutions in the blocked layout of onnxruntime's fastest kernels.

- ``blocked``: Convolutions of a training graph in the blocked layout of onnxruntime's fastest kernels.
- ``kernels``: What onnxruntime computes slowly in a training graph, said in operators that it computes fast.
- ``packing``: Nodes that write a convolution in the blocked layout (NCHWc), channels filled up with zeros.
"""
