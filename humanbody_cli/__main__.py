"""``python -m humanbody_cli`` and the ``hbseg`` command."""

import signal

from humanbody_cli.cli import main as command


def main() -> None:
    """Run the command in a process that can wait for its children.

    A parent that ignores SIGCHLD hands that on: the kernel then reaps our children itself, and
    `os.waitpid` finds none.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    command.main()


if __name__ == "__main__":
    main()
