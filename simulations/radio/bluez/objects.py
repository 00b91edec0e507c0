"""The D-Bus object tree: nodes with interfaces and properties, and the signals their changes send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dbus_fast import Message, Variant

OBJECT_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"

Properties = dict[str, Variant]


@dataclass(frozen=True, slots=True)
class Call:
    """A method call as a node sees it.

    Attributes:
        sender: unique bus name of the caller.
        signature: D-Bus signature of the body.
        body: arguments.
    """

    sender: str
    signature: str
    body: list[Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a method returns.

    Attributes:
        signature: D-Bus signature of the body.
        body: values; "h" is an index into `fds`.
        fds: file descriptors to send along, which are closed once they are sent.
    """

    signature: str = ""
    body: tuple[Any, ...] = ()
    fds: tuple[int, ...] = ()


Method = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """A method of a node and the signature its arguments must have."""

    signature: str
    run: Method


class Node:
    """One object: its path, the properties of its interfaces, and its methods by (interface, member)."""

    def __init__(self, path: str, interfaces: Mapping[str, Properties]) -> None:
        self.path = path
        self.interfaces: dict[str, Properties] = dict(interfaces)
        self.methods: dict[tuple[str, str], MethodEntry] = {}
        self.writable: set[tuple[str, str]] = set()

    def property_set(self, interface: str, name: str) -> None:
        """A client has set a writable property."""

    def offer(self, interface: str, member: str, signature: str, run: Method) -> None:
        """Add a method."""
        self.methods[interface, member] = MethodEntry(signature, run)


class ObjectTree:
    """All nodes, and the ObjectManager and Properties signals that keep clients up to date.

    Args:
        emit: sends a signal on the bus.
    """

    def __init__(self, emit: Callable[[Message], None]) -> None:
        self._emit = emit
        self._nodes: dict[str, Node] = {}

    def get(self, path: str) -> Node | None:
        """The node at a path, or None."""
        return self._nodes.get(path)

    def add(self, node: Node) -> None:
        """Export a node."""
        self._nodes[node.path] = node
        self._emit(
            Message.new_signal("/", OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [node.path, node.interfaces])
        )

    def remove(self, path: str) -> None:
        """Withdraw a node and all below it, children first."""
        below = [p for p in self._nodes if p == path or p.startswith(path + "/")]
        for gone in sorted(below, key=len, reverse=True):
            interfaces = list(self._nodes.pop(gone).interfaces)
            self._emit(Message.new_signal("/", OBJECT_MANAGER, "InterfacesRemoved", "oas", [gone, interfaces]))

    def change(
        self, path: str, interface: str, changed: Properties, *, invalidated: Iterable[str] = (), force: bool = False
    ) -> None:
        """Set properties and tell clients about those that are new or different.

        Args:
            path: the node; nothing happens if it is gone.
            interface: whose properties.
            changed: new values.
            invalidated: properties that no longer have a value.
            force: tell even if a value is the same, as for a notification that repeats it.
        """
        node = self._nodes.get(path)
        if node is None:
            return
        current = node.interfaces[interface]
        news = changed if force else {name: value for name, value in changed.items() if current.get(name) != value}
        gone = [name for name in invalidated if name in current]
        current.update(changed)
        for name in gone:
            del current[name]
        if news or gone:
            self._emit(Message.new_signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, news, gone]))

    def managed(self) -> dict[str, dict[str, Properties]]:
        """The answer to GetManagedObjects."""
        return {path: node.interfaces for path, node in self._nodes.items()}

    def children(self, path: str) -> list[str]:
        """Names of the direct children of a path, exported or on the way to an exported one."""
        prefix = path.rstrip("/") + "/"
        return sorted({p[len(prefix) :].split("/")[0] for p in self._nodes if p.startswith(prefix)})
