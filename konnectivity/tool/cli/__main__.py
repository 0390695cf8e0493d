"""`python -m konnectivity.tool.cli`: the tool, where its script is not installed."""

from konnectivity.tool.cli.main import main

main()
