"""The link tests on real BlueZ: a small virtual machine with Debian's kernel, an emulated adapter and bluetoothd.

::

    host    python -m simulations.radio.vm [-- COMMAND]     parts -> modules -> initrd -> machine
    guest   init.sh (initramfs) -> job.sh (host's files over 9p, read-only) -> COMMAND, with
            WAYWORD_RADIO_STACK=bluetoothd: `RadioProcesses` then starts bluetoothd in the façade's place
"""
