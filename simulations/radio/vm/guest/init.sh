#!/bin/busybox sh
# First program of the virtual machine, in its initramfs: loads the kernel's modules, mounts the host's files, hands over.
B=/bin/busybox

fail() {
    echo "wayword-vm: $1"
    $B poweroff -f
}

$B mount -t proc proc /proc
$B mount -t sysfs sysfs /sys
$B mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do
    $B insmod "$module" || fail "kernel module ${module##*/} cannot be loaded"
done

# The host's files, read-only; what the guest writes stays in its memory.
$B mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose host /lower \
    || fail "the host's files cannot be mounted"
$B mount -t tmpfs tmpfs /upper
$B mkdir /upper/changes /upper/work
$B mount -t overlay -o lowerdir=/lower,upperdir=/upper/changes,workdir=/upper/work overlay /root \
    || fail "the overlay cannot be mounted"
for folder in proc sys dev; do
    $B mkdir -p "/root/$folder"
    $B mount --move "/$folder" "/root/$folder"
done
$B mkdir -p /root/run /root/dev/pts /root/dev/shm
$B mount -t tmpfs tmpfs /root/run
$B mount -t devpts devpts /root/dev/pts
$B mount -t tmpfs tmpfs /root/dev/shm
# bluetoothd keeps its adapters here; the host may have some too.
$B mkdir -p /root/var/lib/bluetooth /root/run/wayword /root/run/tmp
$B mount -t tmpfs tmpfs /root/var/lib/bluetooth
$B mount -t 9p -o trans=virtio,version=9p2000.L,rw,msize=524288 results /root/run/wayword \
    || fail "the folder for results cannot be mounted"
$B ifconfig lo 127.0.0.1 up
$B cp /bin/busybox /root/run/busybox
exec $B switch_root /root /bin/sh /run/wayword/job.sh
