#!/usr/bin/env bash
# Prepares an instance for aw-runner: log agent, disks, tools, program. systemd runs this before every start of aw-runner, so
# every step is idempotent and works on a full disk. systemd repeats a failed run; if none succeeds, the launch hook times out
# and Auto Scaling replaces the instance.
set -euo pipefail

# Empty on an instance; a test uses a folder of its own.
root=${AW_BOOTSTRAP_ROOT:-}
etc=$root/etc/aw-runner
lib=$root/usr/local/lib/aw-runner
ephemeral=$root/mnt/ephemeral
# The choice of disk of this boot; /run is empty after a reboot.
decided=$root/run/aw-runner.disk

# The log file can be on a full disk.
log() { echo "bootstrap: $*" >&2 || true; }

# First, so that the log of a failed boot outlives the instance. After a reboot the agent's own unit starts it.
ship_logs() {
  local control=$root/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl shipped=$root/run/aw-runner.logs
  [ ! -e "$shipped" ] || return 0
  if [ ! -x "$control" ]; then
    log "no amazon-cloudwatch-agent on this image: the boot's log stays on the instance"
  elif timeout 30 "$control" -a fetch-config -m ec2 -s -c "file:$etc/cloudwatch.json" >"$root/run/aw-runner.cwagent" 2>&1; then
    touch "$shipped"
  else
    log "amazon-cloudwatch-agent does not start: $(tail -n 3 "$root/run/aw-runner.cwagent")"
  fi
}

# Unused instance store disks, found by the model that the kernel reads: the links of udev differ between systems.
free_disks() {
  local model block name
  for model in "$root"/sys/block/*/device/model; do
    grep -qs '^Amazon EC2 NVMe Instance Storage' "$model" || continue
    block=${model%/device/model} name=$(basename "${model%/device/model}")
    if compgen -G "$block/$name*" >/dev/null || findmnt -n --source "/dev/$name" >/dev/null ||
      [ -n "$(find "$block/holders" -mindepth 1 -not -name 'md*' 2>/dev/null)" ]; then
      log "/dev/$name is in use: left alone"
    else
      echo "/dev/$name"
    fi
  done
}

# The array of these disks: running, known from before a reboot, or new. udev can have started it under any name.
array() {
  local held name=$root/dev/md/ephemeral
  for held in "$root/sys/block/$(basename "$1")"/holders/md*; do
    if [ -e "$held" ]; then echo "/dev/$(basename "$held")"; return; fi
  done
  mkdir -p "$root/dev/md"
  mdadm --assemble "$name" --run "$@" >&2 ||
    mdadm --create "$name" --run --level=0 --force --homehost=any --raid-devices=$# "$@" >&2 || return 1
  echo "$name"
}

# Images of snapshots are cloned, which takes a file system with reflink.
can_clone() {
  local probe=$1/.reflink status
  echo x >"$probe" && cp --reflink=always "$probe" "$probe.clone" 2>/dev/null
  status=$?
  rm -f "$probe" "$probe.clone"
  return $status
}

mount_xfs() {
  mount -t xfs -o noatime,nodev,nosuid "$1" "$ephemeral" 2>/dev/null || return
  can_clone "$ephemeral" || { umount "$ephemeral"; return 1; }
}

# The disk is a cache: a file system that cannot be mounted, or cannot clone, is created again.
mount_disk() { mount_xfs "$1" || { mkfs.xfs -q -f -K -m reflink=1 "$1" && mount_xfs "$1"; }; }

# The root volume of some systems cannot clone: a file on it can contain a file system that does. It has all of its space from the
# beginning, so that no write to it meets a full root volume, and leaves a fifth of the free space to the system.
mount_file() {
  local file=$root/var/lib/aw-runner/disk.xfs kilobytes device status=0
  mkdir -p "$(dirname "$file")"
  if [ ! -e "$file" ]; then
    kilobytes=$(df -k --output=avail "$(dirname "$file")" | tail -n 1)
    if ! fallocate -l "$((kilobytes * 4 / 5))KiB" "$file.new" || ! mkfs.xfs -q -f -K -m reflink=1 "$file.new"; then
      rm -f "$file.new"
      return 1
    fi
    # It contains the files of all users.
    chmod 0600 "$file.new"
    mv "$file.new" "$file"
  fi
  device=$(losetup --find --show --direct-io=on "$file" || losetup --find --show "$file") || return
  mount_disk "$device" || status=$?
  # The device of a mounted file system stays until the unmount.
  losetup --detach "$device"
  [ "$status" -eq 0 ] || { rm -f "$file"; return 1; }
  echo "$file" >"$decided"
}

# All trees of jobs have the same UUID, and a job chooses the label of its tree: no link in /dev/disk may lead to one.
ignore_loops() {
  mkdir -p "$root/run/udev/rules.d"
  echo 'SUBSYSTEM=="block", KERNEL=="loop*", ENV{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1"' \
    >"$root/run/udev/rules.d/59-aw-runner.rules"
}

# All local NVMe disks as one file system. Without disks, or if they fail, the root volume: slow, but it works.
# Decided once per boot: a mount at a later start would hide files in use.
prepare_disk() {
  mkdir -p "$ephemeral" "$(dirname "$decided")"
  ignore_loops
  # What may be written and not yet be on the disk when it is nearly full (snapshot/reserve.ts).
  [ ! -w "$root/proc/sys/vm/dirty_bytes" ] || echo 1073741824 >"$root/proc/sys/vm/dirty_bytes"
  if ! mountpoint -q "$ephemeral" && ! grep -qs '^root$' "$decided"; then
    local device=
    case ${#disks[@]} in
      0) ;;
      1) device=${disks[0]} ;;
      *) device=$(array "${disks[@]}") || log "no array of ${disks[*]}" ;;
    esac
    if [ -n "$device" ] && mount_disk "$device"; then
      log "$ephemeral is on $device (${#disks[@]} disks)"
      echo "$device" >"$decided"
    elif can_clone "$ephemeral"; then
      log "$ephemeral is on the root volume"
      echo root >"$decided"
    elif mount_file; then
      log "$ephemeral is in a file on the root volume"
    else
      log "$ephemeral is on the root volume, which cannot clone files: every restore copies them"
      echo root >"$decided"
    fi
  fi
  mkdir -p "$ephemeral/aw" "$root/var/lib/aw-runner"
}

# Node 24 or later: a private one, so that jobs can use another version, or one on the PATH (Amazon Linux: node-24).
find_node() {
  local node
  for node in "$lib/node" node-24 node; do
    node=$(command -v "$node") || continue
    if "$node" -e 'process.exit(+(process.versions.node.split(".")[0] < 24))'; then echo "$node"; return; fi
  done
  return 1
}

lacking() {
  { command -v mkfs.xfs && command -v xfs_io; } >/dev/null || echo xfsprogs
  { command -v mke2fs && command -v e2fsck && command -v debugfs; } >/dev/null || echo e2fsprogs
  command -v aws >/dev/null || echo awscli-2
  find_node >/dev/null || echo nodejs24
}

# An image built by infra/runner/image has all tools. Without mdadm the instance uses its root volume; without nftables a runner
# that isolates jobs takes none, and says so. The other tools are required.
install_tools() {
  local lacks
  mapfile -t lacks < <(lacking)
  [ ${#disks[@]} -lt 2 ] || command -v mdadm >/dev/null || lacks+=(mdadm)
  command -v nft >/dev/null || lacks+=(nftables)
  [ ${#lacks[@]} -gt 0 ] || return 0
  log "this image lacks ${lacks[*]}: installing, at each boot"
  if command -v dnf >/dev/null; then
    timeout 120 dnf install -q -y "${lacks[@]}" >&2 || true
  elif command -v apt-get >/dev/null; then
    timeout 120 sh -c 'apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"' \
      sh "${lacks[@]}" >&2 || true
  fi
  mapfile -t lacks < <(lacking)
  [ ${#lacks[@]} -eq 0 ] || { log "this image lacks ${lacks[*]}, which cannot be installed here: see infra/runner/image"; return 1; }
}

is_right() { echo "$RUNNER_SHA256  $1" | sha256sum --check --status; }

# An image can contain the program. It is used if it has the checksum of the launch template.
# The wrapper is written only if it differs: a write on a full disk would keep aw-runner from its restart.
fetch_program() {
  local program=$lib/aw-runner wrapper
  if ! [ -e "$program.mjs" ] || ! is_right "$program.mjs"; then
    timeout 60 aws s3 cp --only-show-errors "$RUNNER_URL" "$program.mjs.new"
    is_right "$program.mjs.new" || { log "$RUNNER_URL is not the program of the launch template: sha256 differs"; return 1; }
    mv "$program.mjs.new" "$program.mjs"
  fi
  wrapper=$(printf '#!/bin/sh\nexec %s %s "$@"' "$(find_node)" "$program.mjs")
  if [ -x "$program" ] && [ "$(cat "$program")" = "$wrapper" ]; then return; fi
  echo "$wrapper" >"$program.new"
  chmod 0755 "$program.new"
  mv "$program.new" "$program"
}

# Makes every Bazel of the instance use the caches of the snapshot.
point_bazel() {
  local line="try-import $etc/bazelrc" rc
  for rc in "$root/etc/bazel.bazelrc" "$root/etc/bazel/bazelrc"; do
    # The Debian package of Bazel reads the second file and creates its folder.
    [ -d "$(dirname "$rc")" ] || continue
    grep -qsxF "$line" "$rc" || echo "$line" >>"$rc" || log "$rc cannot be written"
  done
}

# shellcheck disable=SC1091 # User data writes this file.
. "$etc/source.env"
export AWS_DEFAULT_REGION
ship_logs
# udev can still be starting an array.
! command -v udevadm >/dev/null || udevadm settle --timeout=10 || true
mapfile -t disks < <(free_disks)
install_tools
prepare_disk
fetch_program
point_bazel
