"""What every command shares: one clear line and an exit code for each typed failure."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Callable
from typing import Final

from shared.errors import StorageError, WaywordError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE})
"""What a machine refuses in places where nobody can foresee it, such as standard output or a temporary folder."""
_OURS: Final = frozenset({"shared", "glasses", "phone", "cloud", "simulations"})


def run(program: str, main: Callable[[], int]) -> int:
    """Run a command body; a `WaywordError` becomes one line on standard error and its exit code.

    So does a library that is not installed: all commands come with every installation, their libraries with the
    extra of the same name.

    Args:
        program: name shown before the message, such as "wayword-phone"; what follows the dash names the extra.
        main: the command body; returns the exit code.

    Returns:
        The exit code; 130 after Ctrl-C, as shells expect.
    """
    try:
        code = main()
        sys.stdout.flush()
        return code
    except WaywordError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if not library or library in _OURS:
            raise
        extra = program.removeprefix("wayword-")
        print(f"{program}: error: {library} is not installed. Run: pip install 'wayword[{extra}]'", file=sys.stderr)
        return WaywordError.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`… | head`): nothing is wrong, and nobody is left to tell.
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno not in _FULL:
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(f"{program}: error: {error.strerror}{where}", file=sys.stderr)
        return StorageError.exit_code
