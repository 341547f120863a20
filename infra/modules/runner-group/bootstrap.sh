#!/usr/bin/env bash
# Disks and the runner program, before aw-runner starts. Whatever fails here is tried again by systemd; a machine that
# never gets through says nothing, so that its launch hook runs out and Auto Scaling replaces it.
set -euo pipefail
. /etc/aw-runner/source.env
export AWS_DEFAULT_REGION

lib=/usr/local/lib/aw-runner
ephemeral=/mnt/ephemeral

# All local NVMe disks as one, if there are any; else a folder on the root volume.
if ! mountpoint -q "$ephemeral"; then
  mapfile -t disks < <(find /dev/disk/by-id -name 'nvme-Amazon_EC2_NVMe_Instance_Storage_*-ns-1' -exec readlink -f {} + 2>/dev/null | sort -u)
  device=
  if [ "${#disks[@]}" -eq 1 ]; then
    device=${disks[0]}
  elif [ "${#disks[@]}" -gt 1 ]; then
    device=/dev/md/ephemeral
    [ -e "$device" ] || mdadm --create "$device" --run --level=0 --raid-devices="${#disks[@]}" "${disks[@]}"
  fi
  mkdir -p "$ephemeral"
  if [ -n "$device" ]; then
    [ -n "$(blkid -o value -s TYPE "$device" || true)" ] || mkfs.ext4 -q -E nodiscard "$device"
    mount -o noatime "$device" "$ephemeral"
  fi
fi
mkdir -p "$ephemeral/aw" /var/lib/aw-runner

# An image may bring the program, as long as it is this very one.
program=$lib/aw-runner
right() { echo "$RUNNER_SHA256  $1" | sha256sum --check --status; }
if ! [ -e "$program" ] || ! right "$program.mjs"; then
  aws s3 cp --only-show-errors "$RUNNER_URL" "$program.mjs.new"
  right "$program.mjs.new" || { echo "$RUNNER_URL is not what the launch template says: sha256 differs" >&2; exit 1; }
  mv "$program.mjs.new" "$program.mjs"
  printf '#!/bin/sh\nexec node %s "$@"\n' "$program.mjs" >"$program"
  chmod 0755 "$program"
fi
