"""An ``org.bluez`` façade: BlueZ's D-Bus API on a Bumble host, complete enough for unmodified bleak.

A D-Bus client cannot tell it from bluetoothd in what it does: object tree and signals, discovery with filters,
connect, service resolution, reads, writes, notifications, sockets for both, agents, pairing, bonds kept in a file, and
BlueZ's documented error names. It differs on purpose:

* it disconnects at once and can connect again at once, unless told otherwise (`Delays`);
* of writes without response 64 KiB may wait for a device, answered at once; those beyond are answered when there is
  room (bluetoothd queues without bound);
* a connected device whose last D-Bus client left the bus is disconnected at once (bluetoothd keeps it connected, and a
  restarted phone finds a connection it did not make);
* services are discovered anew on every connection, and their objects go with it;
* an attribute that wants an authenticated link is refused ("Not paired") where the kernel would begin to pair;
* no BR/EDR, no GATT server, no resolvable private addresses.
"""
