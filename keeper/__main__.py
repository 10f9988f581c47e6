"""Let `python -m keeper` be the command line."""

from keeper.cli import main

main()
