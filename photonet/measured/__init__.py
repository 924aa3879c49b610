"""Measured devices: the device and its camera, the file format, its check, and import from pictures."""

from __future__ import annotations

from .assembly import ERRORS, make_devices
from .bench import run_bench
from .captures import Windows, cut_windows, join_windows, signed_maps
from .check import check
from .crosstalk import correct_crosstalk, crosstalk_matrix
from .dark import correct_dark
from .defects import correct_defects
from .device import Device
from .drift import DriftMonitor
from .exposure import ExposureChoice, choose_exposure
from .faults import Finding
from .features import Measured
from .flat import correct_flat
from .geometry import correct_geometry
from .importer import import_folder
from .known_scenes import correct_flicker
from .light import correct_drift
from .look import Look
from .photometry import STEPS, calibrate
from .planner import Needed, PilotPlan, plan_pilot
from .point_spread import PointSpread, estimate_psf, mean_point
from .reader import Frames, MeasuredData
from .register import Registration, register
from .series import correct_linearity, gain_of_series
from .steps import Calibration, Shots, Step
from .writer import Part, write

__all__ = [
    "ERRORS",
    "STEPS",
    "Calibration",
    "Device",
    "DriftMonitor",
    "ExposureChoice",
    "Finding",
    "Frames",
    "Look",
    "Measured",
    "MeasuredData",
    "Needed",
    "Part",
    "PilotPlan",
    "PointSpread",
    "Registration",
    "Shots",
    "Step",
    "Windows",
    "calibrate",
    "check",
    "choose_exposure",
    "correct_crosstalk",
    "correct_dark",
    "correct_defects",
    "correct_drift",
    "correct_flat",
    "correct_flicker",
    "correct_geometry",
    "correct_linearity",
    "crosstalk_matrix",
    "cut_windows",
    "estimate_psf",
    "gain_of_series",
    "import_folder",
    "join_windows",
    "make_devices",
    "mean_point",
    "plan_pilot",
    "register",
    "run_bench",
    "signed_maps",
    "write",
]
