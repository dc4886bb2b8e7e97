"""Rows of the kernels' scoreboard, one module per family, each with ``rows(isa)``; see `board`."""
