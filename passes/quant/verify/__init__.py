"""Whether a target takes the result, and what really runs on integers.

- ``kernels``: What really runs on integers: the quantized model as the runtime sees it, operator by operator.
- ``sessions``: How quantized models are run while decisions are made about them.
- ``validation``: Hold a quantized model against the rules of its target before it is written.
- ``validator``: What a backend refuses in a quantized model, found before the file is written.
"""
