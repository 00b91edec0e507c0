"""What every command shares: one clear line and an exit code for each typed failure."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from shared.errors import WaywordError


def run(program: str, main: Callable[[], int]) -> int:
    """Run a command body; a `WaywordError` becomes one line on standard error and its exit code.

    Args:
        program: name shown before the message, such as "wayword-phone".
        main: the command body; returns the exit code.

    Returns:
        The exit code; 130 after Ctrl-C, as shells expect.
    """
    try:
        return main()
    except WaywordError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`… | head`): nothing is wrong, and nobody is left to tell.
        sys.stderr.close()
        return 0
