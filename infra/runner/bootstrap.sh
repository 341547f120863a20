#!/usr/bin/env bash
# What aw-runner needs before it starts: logs on their way out, disks, tools, the program. systemd runs this before every
# start of aw-runner, so all of it may be done already. What fails is tried again by systemd; a machine that never gets
# through says nothing, and its launch hook runs out: Auto Scaling replaces it.
set -euo pipefail

# Empty on a machine; a test runs everything in a folder of its own.
root=${AW_BOOTSTRAP_ROOT:-}
etc=$root/etc/aw-runner
lib=$root/usr/local/lib/aw-runner
ephemeral=$root/mnt/ephemeral
# Lives as long as the kernel: what was decided in this boot.
decided=$root/run/aw-runner.disk

say() { echo "bootstrap: $*" >&2; }

# First, so that the words of a boot that fails outlive the machine. The agent's own unit starts it after a reboot.
ship_logs() {
  local control=$root/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl shipped=$root/run/aw-runner.logs
  [ ! -e "$shipped" ] || return 0
  if [ ! -x "$control" ]; then
    say "no amazon-cloudwatch-agent on this image: the boot's log stays on the machine"
  elif timeout 30 "$control" -a fetch-config -m ec2 -s -c "file:$etc/cloudwatch.json" >"$root/run/aw-runner.cwagent" 2>&1; then
    touch "$shipped"
  else
    say "amazon-cloudwatch-agent does not start: $(tail -n 3 "$root/run/aw-runner.cwagent")"
  fi
}

# Instance store disks that nobody uses. By the model that the kernel reads from the disk: udev's links differ by system.
free_disks() {
  local model block name
  for model in "$root"/sys/block/*/device/model; do
    grep -qs '^Amazon EC2 NVMe Instance Storage' "$model" || continue
    block=${model%/device/model} name=$(basename "${model%/device/model}")
    if compgen -G "$block/$name*" >/dev/null || findmnt -n --source "/dev/$name" >/dev/null ||
      [ -n "$(find "$block/holders" -mindepth 1 -not -name 'md*' 2>/dev/null)" ]; then
      say "/dev/$name is in use: left alone"
    else
      echo "/dev/$name"
    fi
  done
}

# The array of these disks: running, or known from before the reboot, or new. udev may have started it under any name.
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

# It is a cache: a file system that cannot be mounted is made anew.
mount_disk() {
  mount -o noatime "$1" "$ephemeral" 2>/dev/null && return
  mkfs.ext4 -q -F -m 0 -E nodiscard "$1" && mount -o noatime "$1" "$ephemeral"
}

# All local NVMe disks as one; else, and whatever fails with them, a folder on the root volume: slow is better than dead.
# Decided once a boot: a disk that came up later would hide what is at work by then.
prepare_disk() {
  mkdir -p "$ephemeral" "$(dirname "$decided")"
  if ! mountpoint -q "$ephemeral" && ! grep -qs '^root$' "$decided"; then
    local device=
    case ${#disks[@]} in
      0) ;;
      1) device=${disks[0]} ;;
      *) device=$(array "${disks[@]}") || say "no array of ${disks[*]}" ;;
    esac
    if [ -n "$device" ] && mount_disk "$device"; then
      say "$ephemeral is on $device (${#disks[@]} disks)"
      echo "$device" >"$decided"
    else
      say "$ephemeral is on the root volume"
      echo root >"$decided"
    fi
  fi
  mkdir -p "$ephemeral/aw" "$root/var/lib/aw-runner"
}

# Node 24 or later: one that is there for us alone, so that jobs may have another; or what is on the PATH, by the name that
# Amazon Linux gives it too.
find_node() {
  local node
  for node in "$lib/node" node-24 node; do
    node=$(command -v "$node") || continue
    if "$node" -e 'process.exit(+(process.versions.node.split(".")[0] < 24))'; then echo "$node"; return; fi
  done
  return 1
}

lacking() {
  command -v mksquashfs >/dev/null || echo squashfs-tools
  command -v aws >/dev/null || echo awscli-2
  find_node >/dev/null || echo nodejs24
}

# An image that was made for it (infra/runner/image) has everything, and nothing is installed here. Without mdadm a machine has its
# root volume; without the others it has nothing.
install_tools() {
  local lacks
  mapfile -t lacks < <(lacking)
  [ ${#disks[@]} -lt 2 ] || command -v mdadm >/dev/null || lacks+=(mdadm)
  [ ${#lacks[@]} -gt 0 ] || return 0
  say "this image lacks ${lacks[*]}: installing, at each boot"
  if command -v dnf >/dev/null; then
    timeout 120 dnf install -q -y "${lacks[@]}" >&2 || true
  elif command -v apt-get >/dev/null; then
    timeout 120 sh -c 'apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"' \
      sh "${lacks[@]}" >&2 || true
  fi
  mapfile -t lacks < <(lacking)
  [ ${#lacks[@]} -eq 0 ] || { say "this image lacks ${lacks[*]}, which cannot be installed here: see infra/runner/image"; return 1; }
}

is_right() { echo "$RUNNER_SHA256  $1" | sha256sum --check --status; }

# An image may bring the program, as long as it is this very one.
fetch_program() {
  local program=$lib/aw-runner
  if ! [ -e "$program.mjs" ] || ! is_right "$program.mjs"; then
    timeout 60 aws s3 cp --only-show-errors "$RUNNER_URL" "$program.mjs.new"
    is_right "$program.mjs.new" || { say "$RUNNER_URL is not what the launch template says: sha256 differs"; return 1; }
    mv "$program.mjs.new" "$program.mjs"
  fi
  printf '#!/bin/sh\nexec %s %s "$@"\n' "$(find_node)" "$program.mjs" >"$program.new"
  chmod 0755 "$program.new"
  mv "$program.new" "$program"
}

# Every Bazel of the machine uses the caches that a snapshot brings.
point_bazel() {
  local line="try-import $etc/bazelrc" rc
  for rc in "$root/etc/bazel.bazelrc" "$root/etc/bazel/bazelrc"; do
    # Debian's own build reads the second, and only that brings its folder.
    [ -d "$(dirname "$rc")" ] || continue
    grep -qsxF "$line" "$rc" || echo "$line" >>"$rc"
  done
}

# shellcheck disable=SC1091 # User data writes it.
. "$etc/source.env"
export AWS_DEFAULT_REGION
ship_logs
# udev may still be starting an array.
! command -v udevadm >/dev/null || udevadm settle --timeout=10 || true
mapfile -t disks < <(free_disks)
install_tools
prepare_disk
fetch_program
point_bazel
