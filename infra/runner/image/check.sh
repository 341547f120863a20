#!/usr/bin/env bash
# Tests the components that a runner needs, one by one: on an image under construction, or where a boot fails. Leaves no files.
# Exits with 1 if a component is missing that every boot needs.
# shellcheck disable=SC2317 # Functions are passed by name.
set -uo pipefail

missing=0
folder=$(mktemp -d)
cleanup() {
  umount -q "$folder/merged" "$folder/tree" "$folder/disk" 2>/dev/null
  rm -rf "$folder"
}
trap cleanup EXIT

# try LABEL WHAT WHY COMMAND...
try() {
  local label=$1 what=$2 why=$3
  shift 3
  if "$@" >"$folder/output" 2>&1; then
    echo "ok       $what"
  else
    echo "$label  $what: $why. $(tail -n 1 "$folder/output")"
    return 1
  fi
}

# A boot fails without it.
need() { try MISSING "$@" || missing=1; }

# A boot succeeds without it, with a restriction.
prefer() { try without "$@" || true; }

has() { command -v "$1" >/dev/null; }

node_24() {
  local node
  for node in /usr/local/lib/aw-runner/node node-24 node; do
    if has "$node" && "$node" -e 'process.exit(+(process.versions.node.split(".")[0] < 24))'; then return; fi
  done
  echo "node --version: $(node --version 2>&1)"
  return 1
}

# What bootstrap.sh and aw-runner do with a disk: a file system with reflink, an image on it, and a mounted clone of the image.
make_disk() {
  truncate -s 400M "$folder/disk.xfs"
  mkfs.xfs -q -m reflink=1 "$folder/disk.xfs" && mkdir "$folder/disk" &&
    mount -o loop,noatime,nodev,nosuid "$folder/disk.xfs" "$folder/disk"
}

make_image() {
  truncate -s 1G "$folder/disk/base.img"
  mke2fs -q -F -t ext4 -O ^has_journal "$folder/disk/base.img" && e2fsck -f -n "$folder/disk/base.img"
}

mount_clone() {
  mkdir "$folder/tree"
  cp --reflink=always "$folder/disk/base.img" "$folder/disk/tree.img" &&
    mount -t ext4 -o loop,noatime,nodev,nosuid,noinit_itable "$folder/disk/tree.img" "$folder/tree" &&
    mkdir -p "$folder/tree/directory" && echo text >"$folder/tree/directory/file" && fstrim "$folder/tree"
}

read_extents() { xfs_io -r -c fsync -c 'fiemap -v' "$folder/disk/tree.img"; }

# A job's root: its changes are in the clone.
mount_overlay() {
  mkdir -p "$folder/tree/upper" "$folder/tree/work" "$folder/merged" "$folder/lower"
  mount -t overlay overlay -o "lowerdir=$folder/lower,upperdir=$folder/tree/upper,workdir=$folder/tree/work" "$folder/merged"
}

need 'systemd' 'it starts and restarts aw-runner' has systemctl
need 'cloud-init' 'it writes the configuration of the group' has cloud-init
need 'Node 24' 'aw-runner runs on it' node_24
need 'AWS CLI' 'bootstrap.sh fetches aw-runner with it' has aws
need 'findmnt, mountpoint, blkid' 'bootstrap.sh inspects the disks with them' eval 'has findmnt && has mountpoint && has blkid'
need 'systemd-run, setpriv, tar' 'an agent is installed and started with them' eval 'has systemd-run && has setpriv && has tar'
need 'xfsprogs and xfs with reflink in the kernel' 'images of snapshots are cloned' make_disk
need 'e2fsprogs' 'an image is an ext4 file system' make_image
need 'ext4 and loop devices in the kernel' 'a job works in a clone of an image' mount_clone
need 'xfs_io' 'a save finds what has changed with it' read_extents
need 'overlayfs in the kernel' 'a job has a root of its own' mount_overlay
prefer 'nftables, ip, unshare, pivot_root' 'jobs cannot be isolated (job_isolation = "clean")' eval 'has nft && has ip && has unshare && has pivot_root'
prefer 'mdadm' 'several local disks are not used without it' has mdadm
prefer 'amazon-cloudwatch-agent' 'the log of a boot is lost with the instance' test -x /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl
prefer 'logrotate' '/var/log/aw-runner.log grows' has logrotate
prefer 'runuser, getent' 'a warming run cannot run as another user' eval 'has runuser && has getent'
prefer 'git' 'jobs and warming runs check out with it' has git
exit "$missing"
