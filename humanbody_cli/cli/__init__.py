"""The command line: the ``hbseg`` command and its subcommands, with click alone."""
