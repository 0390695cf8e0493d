"""`python -m konnectivity.cli`: the tool, where its script is not installed."""

from konnectivity.cli.main import main

main()
