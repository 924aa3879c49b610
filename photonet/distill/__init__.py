"""Knowledge from a digital teacher: training of the student, and correction after fabrication."""

from .calibrate import fit_full_map, fit_ridge_map, merge_into_backend
from .config import METHODS, TrainConfig
from .correct import CORRECTIONS, Corrected, correct
from .result import Distilled
from .run import distill
from .terms import KD, NTK, CrossEntropy, Features, Term, warm_up
from .trainer import accuracy, predict
from .twin import Twin, fit_twin
from .views import Mixed, Moved

__all__ = [
    "CORRECTIONS",
    "KD",
    "METHODS",
    "NTK",
    "Corrected",
    "CrossEntropy",
    "Distilled",
    "Features",
    "Mixed",
    "Moved",
    "Term",
    "TrainConfig",
    "Twin",
    "accuracy",
    "correct",
    "distill",
    "fit_full_map",
    "fit_ridge_map",
    "fit_twin",
    "merge_into_backend",
    "predict",
    "warm_up",
]
