"""`wayword-glasses` and `python -m glasses`: starts even without its libraries, to say which one is missing."""

from __future__ import annotations

import sys

from shared import cli


def entry() -> int:
    """Console script."""
    return cli.run("wayword-glasses", _main)


def _main() -> int:
    if sys.argv[1:2] == ["packs"]:
        from glasses.updates_cli import main as packs

        return packs(sys.argv[2:])
    from glasses.arguments import parser
    from glasses.phones_cli import concerns_phones, run_phones

    arguments = parser().parse_args()
    # Without the libraries that take seconds to load.
    if concerns_phones(arguments):
        return run_phones(arguments)
    if arguments.idle and not arguments.show_settings:
        from glasses.standby import run_idle

        return run_idle(arguments)
    from glasses.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(entry())
