"""Knowledge from a digital teacher: training of the student, and correction after fabrication."""

from .calibrate import fit_full_map, fit_ridge_map, fit_wiener_map, merge_into_backend
from .config import METHODS, TrainConfig
from .correct import CORRECTIONS, Corrected, correct
from .gauss_newton import gauss_newton
from .nonlinear import NonlinearMap, fit_nonlinear_map
from .run import Distilled, distill
from .terms import KD, NTK, CrossEntropy, Features, Term, warm_up
from .trainer import accuracy, predict
from .twin import Twin, fit_twin

__all__ = [
    "CORRECTIONS",
    "KD",
    "METHODS",
    "NTK",
    "Corrected",
    "CrossEntropy",
    "Distilled",
    "Features",
    "NonlinearMap",
    "Term",
    "TrainConfig",
    "Twin",
    "accuracy",
    "correct",
    "distill",
    "fit_full_map",
    "fit_nonlinear_map",
    "fit_ridge_map",
    "fit_twin",
    "fit_wiener_map",
    "gauss_newton",
    "merge_into_backend",
    "predict",
    "warm_up",
]
