"""`python -m edge_sharpzo` is the command `edge-sharpzo`."""

from edge_sharpzo.cli import app

app(prog_name="edge-sharpzo")
