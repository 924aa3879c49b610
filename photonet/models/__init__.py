"""Published students, teachers and the baselines every claim is compared with."""

from .baselines import digital_twin, ideal_lenses, random_psfs
from .frontends import PictureToField, SideBySide, SpectralConv2d
from .imported import load_teacher
from .packed import packed
from .readout import READOUTS, SignedMaxPool2d, camera_and_readout
from .segmentation import extreme_meta, polychromatic_segmentation, unet
from .students import compressed_meta, diffractive_classifier, polychromatic_meta, spectral_4f
from .teachers import alexnet, lenet, resnet

__all__ = [
    "READOUTS",
    "PictureToField",
    "SideBySide",
    "SignedMaxPool2d",
    "SpectralConv2d",
    "alexnet",
    "camera_and_readout",
    "compressed_meta",
    "diffractive_classifier",
    "digital_twin",
    "extreme_meta",
    "ideal_lenses",
    "lenet",
    "load_teacher",
    "packed",
    "polychromatic_meta",
    "polychromatic_segmentation",
    "random_psfs",
    "resnet",
    "spectral_4f",
    "unet",
]
