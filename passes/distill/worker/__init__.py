"""The training worker: run by the interpreter of a training environment, which knows nothing of graphopt.

It imports numpy and the library of its engine alone, reads and writes in its job folder alone, speaks JSON
lines on what was its stdout, and listens on stdin.  Python 3.8 and later.

- ``check``: Checks before training that find gradients which are silently wrong.
- ``checkpoint``: A checkpoint: everything a run needs to go on as if it had not been interrupted, replaced
  atomically.
- ``events``: What the worker says, and what it is sent: JSON lines out, words in.
- ``layout``: Convolutions in the blocked layout of onnxruntime's fastest kernels.
- ``loop``: The training loop: batches, updates, evaluation, keep-best, early stopping, checkpoints.
- ``main``: From job.json to the last event: what a worker does, and how it fails.
- ``ort_engine``: Training with onnxruntime-training, on the CPU.
- ``parts``: The samples as they lie in the job folder: memory-mapped arrays, one file for each input of the
  graph.
- ``schedule``: The learning rate of each update: a linear warm-up, then constant, linear or cosine down to
  zero.
- ``torch_engine``: Training with PyTorch, on a GPU when there is one: the graph is run node by node.
- ``torch_ops``: The operators of a training graph in PyTorch: what preparing leaves, with sizes fixed and
  constants lifted.
"""
