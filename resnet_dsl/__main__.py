"""`python -m resnet_dsl`."""

from resnet_dsl.cli import main

main()
