"""Empirical neural tangent kernels of any torch module; nothing here knows of optics."""

from __future__ import annotations

from .convolution import conv_factor
from .correlate import ConvGeometry
from .directions import centred_directions, class_directions, pixel_directions, random_directions
from .empirical import adam_rates, forward_gram, gram
from .factors import Correlation, Outer
from .infinite import infinite_gram
from .jacobian import Tangents, tangents
from .parameters import frozen_statistics, select
from .regression import Regression, Spectrum, informative, leverage, regress, spectrum
from .similarity import alignment, center
from .sketch import Sketch, sketch_error
from .teacher import TeacherFeatures

__all__ = [
    "ConvGeometry",
    "Correlation",
    "Outer",
    "Regression",
    "Sketch",
    "Spectrum",
    "Tangents",
    "TeacherFeatures",
    "adam_rates",
    "alignment",
    "center",
    "centred_directions",
    "class_directions",
    "conv_factor",
    "forward_gram",
    "frozen_statistics",
    "gram",
    "infinite_gram",
    "informative",
    "leverage",
    "pixel_directions",
    "random_directions",
    "regress",
    "select",
    "sketch_error",
    "spectrum",
    "tangents",
]
