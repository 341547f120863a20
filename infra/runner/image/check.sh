#!/usr/bin/env bash
# Tests the components that a runner needs, one by one: on an image under construction, or where a boot fails. Leaves no files.
# Exits with 1 if a component is missing that every boot needs.
# shellcheck disable=SC2317 # Functions are passed by name.
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

pack_layer() {
  mkdir -p "$folder/tree/directory"
  echo text >"$folder/tree/directory/file"
  mksquashfs "$folder/tree" "$folder/layer.sqfs" -comp zstd -quiet -no-progress
}

mount_layer() {
  mkdir -p "$folder/layer"
  mount -t squashfs -o loop,ro,nodev,nosuid "$folder/layer.sqfs" "$folder/layer"
}

# Renames a directory of a lower layer: without redirect_dir an overlay cannot do that without a copy.
mount_overlay() {
  mkdir -p "$folder/upper" "$folder/work" "$folder/merged"
  mount -t overlay overlay -o "lowerdir=$folder/layer,upperdir=$folder/upper,workdir=$folder/work,redirect_dir=on,index=off,metacopy=off" \
    "$folder/merged" && mv "$folder/merged/directory" "$folder/merged/renamed" && grep -q text "$folder/merged/renamed/file"
}

need 'systemd' 'it starts and restarts aw-runner' has systemctl
need 'cloud-init' 'it writes the configuration of the group' has cloud-init
need 'Node 24' 'aw-runner runs on it' node_24
need 'AWS CLI' 'bootstrap.sh fetches aw-runner with it' has aws
need 'findmnt, mountpoint, blkid' 'bootstrap.sh inspects the disks with them' eval 'has findmnt && has mountpoint && has blkid'
need 'mkfs.ext4' 'a new disk has no file system' has mkfs.ext4
need 'squashfs-tools' 'a layer is packed with mksquashfs, with zstd' pack_layer
need 'squashfs in the kernel' 'a layer is mounted' mount_layer
need 'overlayfs in the kernel' 'jobs write above the layers' mount_overlay
need 'systemd-run, setpriv, tar' 'an agent is installed and started with them' eval 'has systemd-run && has setpriv && has tar'
prefer 'mdadm' 'several local disks are not used without it' has mdadm
prefer 'amazon-cloudwatch-agent' 'the log of a boot is lost with the instance' test -x /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl
prefer 'logrotate' '/var/log/aw-runner.log grows' has logrotate
prefer 'runuser, getent' 'a warming run cannot run as another user' eval 'has runuser && has getent'
prefer 'git' 'jobs and warming runs check out with it' has git
exit "$missing"
