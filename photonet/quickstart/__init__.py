"""The whole road on real pictures: what `photonet quickstart` runs."""

from .config import QuickstartConfig
from .road import Road
from .run import quickstart

__all__ = ["QuickstartConfig", "Road", "quickstart"]
