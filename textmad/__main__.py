"""`python -m textmad`, for `accelerate launch -m textmad` and `torchrun -m textmad`."""

from textmad.cli import main

main()
