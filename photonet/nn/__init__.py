"""torch layers: thin shells over the functions in `photonet.optics` and `photonet.detector`."""

from .camera import DetectorLayer
from .elements import Aperture, FreeSpace, Lens, PhaseMask
from .hybrid import HybridNetwork
from .mask_conv import MaskConv2d
from .optical_conv import OpticalConv2d, merge_signed, replace_optics, split_signed
from .systems import DiffractiveStack, FourF, detector_regions

__all__ = [
    "Aperture",
    "DetectorLayer",
    "DiffractiveStack",
    "FourF",
    "FreeSpace",
    "HybridNetwork",
    "Lens",
    "MaskConv2d",
    "OpticalConv2d",
    "PhaseMask",
    "detector_regions",
    "merge_signed",
    "replace_optics",
    "split_signed",
]
