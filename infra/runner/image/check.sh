#!/usr/bin/env bash
# Tries what a runner needs of its machine, thing by thing: on an image to be, or where a boot fails. Leaves nothing behind.
# Exits with 1 if something is missing that no boot can do without.
# shellcheck disable=SC2317 # Functions are called by their names.
set -uo pipefail

missing=0
folder=$(mktemp -d)
cleanup() {
  umount -q "$folder/merged" "$folder/layer" 2>/dev/null
  rm -rf "$folder"
}
trap cleanup EXIT

# try LABEL WHAT WHY COMMAND...
try() {
  local label=$1 what=$2 why=$3
  shift 3
  if "$@" >"$folder/said" 2>&1; then
    echo "ok       $what"
  else
    echo "$label  $what: $why. $(tail -n 1 "$folder/said")"
    return 1
  fi
}

# The machine does not work without it.
need() { try MISSING "$@" || missing=1; }

# It works, but not as well.
want() { try without "$@" || true; }

has() { command -v "$1" >/dev/null; }

node_24() {
  local node
  for node in /usr/local/lib/aw-runner/node node-24 node; do
    if has "$node" && "$node" -e 'process.exit(+(process.versions.node.split(".")[0] < 24))'; then return; fi
  done
  echo "node --version: $(node --version 2>&1)"
  return 1
}

pack_layer() {
  mkdir -p "$folder/tree/directory"
  echo text >"$folder/tree/directory/file"
  mksquashfs "$folder/tree" "$folder/layer.sqfs" -comp zstd -quiet -no-progress
}

mount_layer() {
  mkdir -p "$folder/layer"
  mount -t squashfs -o loop,ro,nodev,nosuid "$folder/layer.sqfs" "$folder/layer"
}

# A directory of a lower layer is renamed: only with redirect_dir can an overlay do that without a copy.
mount_overlay() {
  mkdir -p "$folder/upper" "$folder/work" "$folder/merged"
  mount -t overlay overlay -o "lowerdir=$folder/layer,upperdir=$folder/upper,workdir=$folder/work,redirect_dir=on,index=off,metacopy=off" \
    "$folder/merged" && mv "$folder/merged/directory" "$folder/merged/renamed" && grep -q text "$folder/merged/renamed/file"
}

need 'systemd' 'it starts and restarts aw-runner' has systemctl
need 'cloud-init' 'it brings the configuration of the group' has cloud-init
need 'Node 24' 'aw-runner runs on it' node_24
need 'AWS CLI' 'bootstrap.sh fetches aw-runner with it' has aws
need 'findmnt, mountpoint, blkid' 'bootstrap.sh looks at the disks with them' eval 'has findmnt && has mountpoint && has blkid'
need 'mkfs.ext4' 'a new disk has no file system' has mkfs.ext4
need 'squashfs-tools' 'a layer is packed with mksquashfs, with zstd' pack_layer
need 'squashfs in the kernel' 'a layer is mounted' mount_layer
need 'overlayfs in the kernel' 'jobs write above the layers' mount_overlay
want 'mdadm' 'of several local disks none is used without it' has mdadm
want 'amazon-cloudwatch-agent' 'logs of a boot go when the machine goes' test -x /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl
want 'logrotate' '/var/log/aw-runner.log grows' has logrotate
want 'runuser, getent' 'a warming run cannot have a user of its own' eval 'has runuser && has getent'
want 'git' 'jobs and warming runs check out with it' has git
exit "$missing"
