"""The command line, alone with the terminal: one module per command, display, interrupts."""

from edge_sharpzo.cli.main import app

__all__ = ["app"]
