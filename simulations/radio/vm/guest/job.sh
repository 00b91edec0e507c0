# Second part of the guest's start, on the host's files: runs the command of $JOB and leaves its exit code.
# The variables and the command stand above this text.
mark() {
    # Seconds since boot, for the report.
    read -r seconds _ </proc/uptime
    echo "$1 $seconds" >>/run/wayword/times
}

mark booted
echo "wayword-vm: booted"
cd "$WORK" || exit 1
# In a session of its own: the console belongs to the first process.
/run/busybox setsid sh /run/wayword/command.sh </dev/null
code=$?
mark done
/run/busybox dmesg >/run/wayword/kernel.log
echo "$code" >/run/wayword/exit-code
sync
/run/busybox poweroff -f
