"""torch layers: thin shells over the functions in `photonet.optics` and `photonet.detector`."""

from .hybrid import HybridNetwork
from .optical_conv import OpticalConv2d, merge_signed, split_signed

__all__ = ["HybridNetwork", "OpticalConv2d", "merge_signed", "split_signed"]
