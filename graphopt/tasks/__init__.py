"""What models are for, and how good they are at it: classification, detection, segmentation, anything."""

from graphopt.tasks.base import Outcome, Task
from graphopt.tasks.classification import Classification
from graphopt.tasks.decode import PRESETS, Limits
from graphopt.tasks.detection import Detection
from graphopt.tasks.generic import Generic
from graphopt.tasks.paired import Paired
from graphopt.tasks.segmentation import Segmentation

__all__ = [
    "PRESETS",
    "Classification",
    "Detection",
    "Generic",
    "Limits",
    "Outcome",
    "Paired",
    "Segmentation",
    "Task",
]
