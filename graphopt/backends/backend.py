"""The backends that graphopt can run models in, and what installs each.

A backend has an environment of its own, because these packages ask for versions that exclude each other.
Requirements are lower bounds that were tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphopt.errors import UsageError
from graphopt.util.text import meant_or_known


@dataclass(frozen=True)
class Backend:
    """A runtime that ``runner.run`` can be asked to run models in.

    ``package`` is the distribution that the version is read from, ``requirements`` are what pip installs,
    ``alone`` what it installs without what that asks for (npm: ``requirements`` are npm's).  ``environment``
    is the folder's name, which two backends of one package share.  ``worker`` is the script that runs there,
    with ``variables`` in its environment.
    """

    name: str
    title: str
    package: str
    worker: str
    requirements: tuple[str, ...]
    alone: tuple[str, ...] = ()
    environment: str = ""
    is_node: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The name of its environment."""
        return self.environment or self.name


_ALL = (
    Backend(
        "onnxruntime", "onnxruntime", "onnxruntime", "run_onnxruntime.py", ("onnxruntime>=1.22", "onnx>=1.19")
    ),
    Backend(
        "ort-web",
        "onnxruntime-web",
        "onnxruntime-web",
        "run_ortweb.mjs",
        ("onnxruntime-web@>=1.20",),
        is_node=True,
    ),
    Backend("openvino", "OpenVINO", "openvino", "run_openvino.py", ("openvino>=2024.6", "numpy>=1.26")),
    Backend(
        "opencv",
        "OpenCV",
        "opencv-python-headless",
        "run_opencv.py",
        ("opencv-python-headless>=5.0", "numpy>=1.26"),
    ),
    Backend(
        "opencv-classic",
        "OpenCV's classic engine",
        "opencv-python-headless",
        "run_opencv.py",
        ("opencv-python-headless>=5.0", "numpy>=1.26"),
        environment="opencv",
        variables={"GRAPHOPT_OPENCV_ENGINE": "classic"},
    ),
    Backend("litert", "LiteRT", "ai-edge-litert", "run_litert.py", ("onnx2tf>=1.28", "ai-edge-litert>=2.0")),
    Backend(
        "ncnn",
        "ncnn",
        "ncnn",
        "run_ncnn.py",
        ("ncnn>=1.0.20250503", "numpy>=1.26"),
        alone=("pnnx>=20250530",),  # of what it asks for, torch above all, its program needs nothing
    ),
    Backend("mnn", "MNN", "MNN", "run_mnn.py", ("MNN>=3.1", "numpy>=1.26")),
    Backend("tract", "tract", "tract", "run_tract.py", ("tract>=0.21", "numpy>=1.26")),
    Backend("tvm", "TVM", "apache-tvm", "run_tvm.py", ("apache-tvm>=0.20", "onnx>=1.17", "numpy>=1.26")),
    Backend(
        "iree",
        "IREE",
        "iree-base-runtime",
        "run_iree.py",
        ("iree-base-compiler>=3.4", "iree-base-runtime>=3.4", "onnx>=1.17", "numpy>=1.26"),
    ),
    Backend("reference", "ONNX's reference evaluator", "onnx", "run_reference.py", ("onnx>=1.19",)),
)
BACKENDS: Mapping[str, Backend] = {backend.name: backend for backend in _ALL}


def find(name: str) -> Backend:
    """The backend of this name; UsageError names the nearest."""
    if name not in BACKENDS:
        raise UsageError(
            f"there is no backend {name!r}{meant_or_known(name, BACKENDS)}",
            hint=f"known: {', '.join(BACKENDS)}",
        )
    return BACKENDS[name]
