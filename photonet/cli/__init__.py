"""The command ``photonet``: each sub-command is a module here, registered in `photonet.cli.app`."""

from __future__ import annotations

from .app import app, main

__all__ = ["app", "main"]
