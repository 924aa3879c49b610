"""Knowledge from a digital teacher: training of the student, and correction after fabrication."""

from .calibrate import fit_full_map, fit_ridge_map, fit_wiener_map, merge_into_backend
from .chain import CORRECTIONS
from .config import METHODS, TrainConfig
from .correct import Corrected, correct
from .gauss_newton import gauss_newton
from .local import LocalMap, fit_local_map
from .noise import DeviceNoise, MaskNoise
from .nonlinear import NonlinearMap, fit_nonlinear_map
from .result import Distilled
from .run import distill
from .samples import accuracy, mean_iou, predict, r_squared
from .terms import (
    KD,
    NTK,
    CrossEntropy,
    Features,
    KernelResidual,
    OutputMatching,
    SquaredError,
    Term,
    during,
    warm_up,
)
from .trajectory import Trajectory
from .twin import Twin, fit_twin
from .views import Mixed, Moved

__all__ = [
    "CORRECTIONS",
    "KD",
    "METHODS",
    "NTK",
    "Corrected",
    "CrossEntropy",
    "DeviceNoise",
    "Distilled",
    "Features",
    "KernelResidual",
    "LocalMap",
    "MaskNoise",
    "Mixed",
    "Moved",
    "NonlinearMap",
    "OutputMatching",
    "SquaredError",
    "Term",
    "TrainConfig",
    "Trajectory",
    "Twin",
    "accuracy",
    "correct",
    "distill",
    "during",
    "fit_full_map",
    "fit_local_map",
    "fit_nonlinear_map",
    "fit_ridge_map",
    "fit_twin",
    "fit_wiener_map",
    "gauss_newton",
    "mean_iou",
    "merge_into_backend",
    "predict",
    "r_squared",
    "warm_up",
]
