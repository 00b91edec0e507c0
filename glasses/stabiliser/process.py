"""The stabiliser's processes: a parent that has everything loaded, and its two children, the frame path and the mapper.

The parent imports, loads the kernels, freezes the garbage collector's view of it all and then only waits: when a child
dies, both are forked anew within milliseconds, from memory that is warm. The children never collect garbage that was
there before the fork (`gc.freeze`), and the frame path never collects any: it makes none in cycles.

Run by `glasses.stabiliser.client` as ``python -m glasses.stabiliser.process FD``; nobody else needs to.
"""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from glasses.stabiliser.commands import FromMapper, ToMapper
from glasses.stabiliser.frame_path import FramePath
from glasses.stabiliser.mapper import Mapper
from glasses.stabiliser.memory import Memory, memory_bytes
from glasses.stabiliser.packets import (
    LARGEST,
    Add,
    FramePacket,
    RefusedPacket,
    Remove,
    ViewPacket,
    pack_refused,
    pack_view,
    unpack_request,
)
from glasses.stabiliser.pyramid import FrameGeometry
from glasses.stabiliser.warm import warm
from shared.errors import StabiliserError, WaywordError

INPUTS: Final = 4
"""Frames the input memory has room for."""
BEGIN: Final = struct.Struct("<iiddd")
"""Width, height, focal length (negative when it is not known), gyro offset, readout time. Three descriptors come with
it: the frames, the memory, the socket to the firmware."""
RESTARTED: Final = struct.Struct("<qi")
"""Epoch, wait status of the child that died."""
READY: Final = b"ready"
MAPPER_NICE: Final = 5
"""The mapper gives way to everything else of the glasses."""
WAITING_ORDERS: Final = 1024
"""Orders for the mapper kept while its socket is full; beyond that surveys, then the oldest, are left out."""


def input_bytes(geometry: FrameGeometry) -> int:
    """Size of the input memory."""
    return INPUTS * geometry.width * geometry.height


@dataclass(frozen=True, slots=True)
class _Setting:
    """What a run of the children needs."""

    geometry: FrameGeometry
    focal_px: float | None
    gyro_offset: float
    readout_s: float
    inputs: mmap.mmap
    memory: mmap.mmap
    firmware: socket.socket


def _frame_path(setting: _Setting, mapper: socket.socket, epoch: int) -> None:
    """Body of the frame path's process; returns when the firmware has gone."""
    geometry = setting.geometry
    memory = Memory(geometry, memoryview(setting.memory))
    path = FramePath(memory, focal_px=setting.focal_px, gyro_offset=setting.gyro_offset, readout_s=setting.readout_s)
    inputs = np.frombuffer(setting.inputs, np.uint8, input_bytes(geometry)).reshape(
        INPUTS, geometry.height, geometry.width
    )
    firmware = setting.firmware
    mapper.setblocking(False)
    orders: deque[ToMapper] = deque()
    waiting = select.poll()
    waiting.register(firmware, select.POLLIN)
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        waiting.poll()
        data = firmware.recv(LARGEST)
        start = time.perf_counter()
        if not data:
            return
        request = unpack_request(data)
        try:
            if isinstance(request, FramePacket):
                path.take(_answers(mapper))
                view = path.observe(request.frame_id, inputs[request.place], request.captured, request.gyro)
                firmware.send(pack_view(ViewPacket(epoch, view, time.perf_counter() - start)))
                survey = path.survey()
                if survey is not None and len(orders) < WAITING_ORDERS:
                    orders.append(survey)
            elif isinstance(request, Add):
                orders.append(path.follow(request.region_id, request.quads, request.frame_id))
            elif isinstance(request, Remove):
                orders.append(path.remove(request.region_id))
        except StabiliserError as error:
            frame_id = request.frame_id if isinstance(request, FramePacket) else -1
            firmware.send(pack_refused(RefusedPacket(epoch, frame_id, error.message)))
        _pass_on(orders, mapper)


def _answers(mapper: socket.socket) -> list[FromMapper]:
    """What the mapper has sent so far."""
    answers: list[FromMapper] = []
    while True:
        try:
            data = mapper.recv(LARGEST)
        except BlockingIOError:
            return answers
        if not data:
            raise ConnectionError("the mapper has gone")
        answers.append(pickle.loads(data))


def _pass_on(orders: deque[ToMapper], mapper: socket.socket) -> None:
    while orders:
        try:
            mapper.send(pickle.dumps(orders[0]))
        except BlockingIOError:
            while len(orders) > WAITING_ORDERS:
                orders.popleft()
            return
        orders.popleft()


def _mapper(setting: _Setting, frame_path: socket.socket) -> None:
    """Body of the mapper's process; returns when the frame path has gone."""
    os.nice(MAPPER_NICE)
    mapper = Mapper(Memory(setting.geometry, memoryview(setting.memory)), focal_px=setting.focal_px)
    gc.freeze()
    while True:
        messages: list[ToMapper] = []
        flags = 0
        while True:
            try:
                data = frame_path.recv(LARGEST, flags)
            except BlockingIOError:
                break
            if not data:
                return
            messages.append(pickle.loads(data))
            flags = socket.MSG_DONTWAIT
        for answer in mapper.handle(messages):
            frame_path.send(pickle.dumps(answer))


class Parent:
    """Forks the children, and forks them anew when one dies.

    Args:
        control: to the client.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._epoch = 0
        self._children: list[int] = []

    def run(self) -> int:
        """Serve until the client has gone; returns an exit code."""
        warm()
        cv2.setNumThreads(1)
        gc.collect()
        gc.freeze()
        self._control.send(READY)
        data, descriptors, _, _ = socket.recv_fds(self._control, BEGIN.size, 3)
        if not data:
            return 0
        width, height, focal, offset, readout = BEGIN.unpack(data)
        geometry = FrameGeometry.of(width, height)
        setting = _Setting(
            geometry,
            None if focal < 0 else focal,
            offset,
            readout,
            mmap.mmap(descriptors[0], input_bytes(geometry)),
            mmap.mmap(descriptors[1], memory_bytes(geometry)),
            socket.socket(fileno=descriptors[2]),
        )
        woken, wake = socket.socketpair()
        for end in (woken, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._fork(setting)
        try:
            while True:
                ready, _, _ = select.select([self._control, woken], [], [])
                if self._control in ready and not self._control.recv(64):
                    return 0
                if woken in ready:
                    woken.recv(4096)
                    self._reap(setting)
        finally:
            self._kill()

    def _reap(self, setting: _Setting) -> None:
        """When a child has died, start both anew: the firmware is told, and names its regions again."""
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid not in self._children:
            return
        self._children.remove(pid)
        self._kill()
        self._epoch += 1
        memory = Memory(setting.geometry, memoryview(setting.memory))
        memory.planes.active.fill(0)
        _discard_requests(setting.firmware)
        self._fork(setting)
        self._control.send(RESTARTED.pack(self._epoch, status))

    def _fork(self, setting: _Setting) -> None:
        path_end, mapper_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        epoch = self._epoch
        # A child keeps no end that is not its own: otherwise nobody would notice when the other side has gone.
        self._children.append(_forked(lambda: _frame_path(setting, path_end, epoch), [mapper_end, self._control]))
        self._children.append(
            _forked(lambda: _mapper(setting, mapper_end), [path_end, self._control, setting.firmware])
        )
        path_end.close()
        mapper_end.close()

    def _kill(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._children.clear()


def _forked(body: Callable[[], None], not_its_own: Sequence[socket.socket]) -> int:
    """Fork a child that runs `body` and ends; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in not_its_own:
            end.close()
        body()
        status = 0
    except (ConnectionError, BrokenPipeError):
        status = 0  # the other side has gone: so does this one
    except Exception:  # noqa: BLE001 - the child ends here, whatever it was: its parent starts another
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _discard_requests(firmware: socket.socket) -> None:
    """Drop what was meant for the children that died: the firmware sends anew what still matters."""
    while True:
        try:
            if not firmware.recv(LARGEST, socket.MSG_DONTWAIT):
                return
        except BlockingIOError:
            return


def main() -> int:
    """Entry point of the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return Parent(socket.socket(fileno=int(sys.argv[1]))).run()
    except WaywordError as error:
        print(f"wayword-glasses: {error}", file=sys.stderr)  # noqa: T201 - the user's terminal is this process's
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
