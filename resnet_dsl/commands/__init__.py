"""What each command of the command line does; `resnet_dsl.cli` only reads the options."""
