"""What a person types: the ``hbseg`` command and its subcommands, with click alone."""
