#!/bin/sh
# Process 1 of a node: gives the node files, cgroups and kernel settings of its own, and runs its services. All end with it.
#
#   node_init.sh DIRECTORY CGROUP...
#
# DIRECTORY/own has the node's /etc, /var/lib and /var/log, DIRECTORY/services a script for each service, DIRECTORY/logs their output.
set -eu
directory=$1
shift
mount --make-rprivate /
# `ip netns exec` has mounted a /sys without cgroups. A node sees its own only: the cgroup namespace cuts off what is above.
if [ "$1" = unified ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    sed 's/\([^ ]*\)/+\1/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
else
    mount -t tmpfs cgroups /sys/fs/cgroup
    for each; do
        mkdir "/sys/fs/cgroup/$each"
        options=$each
        [ "$each" != systemd ] || options=none,name=systemd
        mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$each"
    done
fi
# The kernel has one value of these settings for all nodes and this machine. A kubelet reads and writes a copy of its node.
for setting in kernel/keys/root_maxbytes kernel/keys/root_maxkeys kernel/panic kernel/panic_on_oops vm/overcommit_memory vm/panic_on_oom; do
    copy=$directory/settings/$setting
    mkdir -p "${copy%/*}"
    cat "/proc/sys/$setting" >"$copy"
    mount --bind "$copy" "/proc/sys/$setting"
done
for each in etc var/lib var/log; do
    mount --bind "$directory/own/$each" "/$each"
done
mount -t tmpfs -o mode=755 run /run
mkdir /run/lock /run/netns
mount --make-rshared /
for each in "$directory"/services/*; do
    sh -eu "$each" >"$directory/logs/${each##*/}.log" 2>&1 &
done
echo started
while :; do
    wait
    sleep 1
done
