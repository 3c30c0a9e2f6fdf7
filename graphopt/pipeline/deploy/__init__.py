"""What is handed to a backend: the file in the form that it takes, the files beside it, and a run there.

- ``companions``: Writes what a backend's converter reads beside the ONNX file.
- ``float_form``: A quantized model as a float one with rounded weights, and the scales of its layers.
- ``verification``: Runs the written file in the backends of its target, and says what is wrong with it there.
"""

from graphopt.pipeline.deploy.companions import Deployment, commands, deployment
from graphopt.pipeline.deploy.verification import verify_in_backends

__all__ = ["Deployment", "commands", "deployment", "verify_in_backends"]
