"""From wished kernels to something that can be made."""

from .masks import MaskDesign, kernels_to_masks

__all__ = ["MaskDesign", "kernels_to_masks"]
