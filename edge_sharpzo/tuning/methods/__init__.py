"""Forward-only optimisers behind one protocol: `ask() -> points`, `tell(losses, outputs)`.

`registry.py` lists them; `protocol.py` says what one has to do; `plan.py` what it tells a run.
"""
