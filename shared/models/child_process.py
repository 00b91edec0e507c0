"""A program that answers one question on its standard output: bounded in time and in what it may answer."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


class ChildFailed(Exception):
    """The program cannot be started, ends with an error, answers too much, or not in time; the message says which."""


def answer_of(
    command: Sequence[str],
    question: bytes,
    *,
    seconds: float,
    max_bytes: int,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """What a program answers to a question on its standard input. What it says beside its answer is not read.

    Args:
        command: program and arguments; no shell reads them.
        question: the program must read it whole before it answers more than a pipe's buffer (64 KiB).
        seconds: longest time from start to end; the program and all that it started are killed then.
        max_bytes: longest answer.
        environment: variables beside PATH and a UTF-8 locale, which are all it sees of this process's.

    Raises:
        ChildFailed: see the class.
    """
    name = Path(command[0]).name
    variables = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    try:
        process = subprocess.Popen(
            command,
            env={**variables, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that its whole pipeline can be ended
        )
    except OSError as error:
        raise ChildFailed(f"{name} cannot be started: {error.strerror}") from error
    with process:
        talk = _Talk(process, question, max_bytes)
        thread = threading.Thread(target=talk, name=f"{name} pipe", daemon=True)
        thread.start()
        thread.join(seconds)
        late = thread.is_alive()
        if late or len(talk.answer) > max_bytes:
            _end(process)
            thread.join()
        if late:
            raise ChildFailed(f"{name} did not answer within {seconds:g} s")
        if len(talk.answer) > max_bytes:
            raise ChildFailed(f"{name} answered more than {max_bytes} bytes")
        try:
            status = process.wait(timeout=1.0)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise ChildFailed(f"{name} did not end") from error
    if status != 0:
        raise ChildFailed(f"{name} ended with status {status}")
    return talk.answer


class _Talk:
    """Writes the question and reads the answer, in a thread of its own: a pipe has no deadline."""

    def __init__(self, process: subprocess.Popen[bytes], question: bytes, max_bytes: int) -> None:
        self._process = process
        self._question = question
        self._max_bytes = max_bytes
        self.answer = b""

    def __call__(self) -> None:
        stdin, stdout = _pipe(self._process.stdin), _pipe(self._process.stdout)
        try:
            stdin.write(self._question)
            stdin.close()
        except OSError:
            # It did not want to hear; its exit status and its answer say the rest.
            self._process.stdin = None
        self.answer = stdout.read(self._max_bytes + 1)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ChildFailed("the pipe is closed")
    return pipe


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has just ended by itself
