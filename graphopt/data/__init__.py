"""Samples for calibration and evaluation: arrays, images and made-up images, preprocessed for a model.

``load("photos::64", model.signature.inputs, parse_preprocess("imagenet"))`` gives a repeatable, streaming
Samples.  The DATA syntax is in `spec`, the preprocessing recipe in `preprocess`.
"""

from __future__ import annotations

from graphopt.data.draws import STYLES, Style
from graphopt.data.element_types import is_float, is_integer, is_text
from graphopt.data.load import from_arrays, load
from graphopt.data.pixel_range import pixel_warnings
from graphopt.data.preprocess import Preprocess
from graphopt.data.presets import PRESETS
from graphopt.data.recipe import parse_preprocess
from graphopt.data.samples import Batch, Sample, Samples, shared
from graphopt.data.spec import DataSpec, parse_spec
from graphopt.data.spool import spooled
from graphopt.data.synthetic import synthetic
from graphopt.data.transform import looks_unnormalised

__all__ = [
    "PRESETS",
    "STYLES",
    "Batch",
    "DataSpec",
    "Preprocess",
    "Sample",
    "Samples",
    "Style",
    "from_arrays",
    "is_float",
    "is_integer",
    "is_text",
    "load",
    "looks_unnormalised",
    "parse_preprocess",
    "parse_spec",
    "pixel_warnings",
    "shared",
    "spooled",
    "synthetic",
]
