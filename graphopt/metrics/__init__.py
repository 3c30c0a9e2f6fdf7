"""What models are for, and how good they are at it: classification, detection, segmentation, any outputs.

- ``average_precision``: Average precision as COCO defines it (the figures of pycocotools), also over weighted
  images.
- ``base``: What a metric is: something that looks at a model's answers sample by sample and says how good
  they are.
- ``boxes``: Boxes: overlap and non-maximum suppression; corners are left, top, right, bottom.
- ``classification``: Classification: top-1 and top-5 with labels, and which answers changed.
- ``detection``: Detection: mean average precision with boxes, agreement with the boxes of a reference
  without.
- ``detection_outputs``: How detectors write their boxes down, and how to read them: a preset for each
  convention.
- ``judge``: The one loop that says how good a model is: it runs over samples, and metrics look at
  the answers.
- ``outputs``: Any model: how far each output is from the reference's.
- ``registry``: Which metrics exist, and the one that a user chose: by task, or a function of the user's own.
- ``segmentation``: Segmentation: mean IoU with masks, agreement of masks with a reference; also text maps and
  matting.
- ``significance``: Whether a change on the same samples is more than noise: McNemar's test and the paired
  bootstrap.
- ``text``: Text: share of lines read without a mistake, from scores of characters in steps (CTC, greedy).
- ``user_function``: The user's own metric: a function of outputs and labels that returns one value for each
  sample.
"""

from graphopt.metrics.base import Metric, Outcome
from graphopt.metrics.classification import Classification
from graphopt.metrics.detection import Detection
from graphopt.metrics.detection_outputs import PRESETS, Limits
from graphopt.metrics.judge import Judge, Verdict
from graphopt.metrics.outputs import Generic
from graphopt.metrics.registry import MetricSpec
from graphopt.metrics.segmentation import Segmentation
from graphopt.metrics.significance import Paired
from graphopt.metrics.user_function import UserFunction

__all__ = [
    "PRESETS",
    "Classification",
    "Detection",
    "Generic",
    "Judge",
    "Limits",
    "Metric",
    "MetricSpec",
    "Outcome",
    "Paired",
    "Segmentation",
    "UserFunction",
    "Verdict",
]
