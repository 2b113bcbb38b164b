"""`python -m stepworks` is the `stepworks` command."""

from stepworks.cli.main import main

main()
