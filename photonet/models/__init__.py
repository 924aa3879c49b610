"""Published students, teachers and the baselines every claim is compared with."""

from .students import compressed_meta, ideal_lenses, random_psfs
from .teachers import lenet

__all__ = ["compressed_meta", "ideal_lenses", "lenet", "random_psfs"]
