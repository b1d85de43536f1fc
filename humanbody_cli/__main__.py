"""``python -m humanbody_cli`` and the ``hbseg`` command."""

from humanbody_cli.cli import main

if __name__ == "__main__":
    main()
