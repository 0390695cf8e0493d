"""Entry point of `python -m konnectivity.tool.cli`, for installations without the console script."""

from konnectivity.tool.cli.main import main

main()
