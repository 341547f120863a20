#!/usr/bin/env bash
# Installs the components of a runner image on Amazon Linux 2023 or Ubuntu 24.04, arm64 or x86_64, and tests them (check.sh).
# Runs as root, on the image under construction. Running it again does no harm.
set -euo pipefail

# Ubuntu has no package of Node 24: this version comes from nodejs.org, with the checksum published there. It is private to
# aw-runner, so that jobs can have any version on their PATH.
NODE_VERSION=${NODE_VERSION:-24.21.0}
here=$(cd "$(dirname "$0")" && pwd)

log() { echo "install: $*" >&2; }

amazon_linux() {
  dnf install -q -y \
    amazon-cloudwatch-agent awscli-2 e2fsprogs fuse git iproute libicu logrotate mdadm nftables nodejs24 rsyslog shadow-utils tar util-linux \
    xfsprogs zstd
}

ubuntu() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q -o DPkg::Lock::Timeout=300 update
  apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
    ca-certificates curl e2fsprogs fuse3 git iproute2 libicu74 logrotate mdadm nftables rsyslog tar udev util-linux xfsprogs xz-utils zstd
  node_from_upstream
  # AWS maintains the snap; the PATH of a systemd unit has no /snap/bin.
  command -v aws >/dev/null || { snap install aws-cli --classic && ln -sf /snap/bin/aws /usr/local/bin/aws; }
  cloudwatch_agent_from_upstream
}

node_from_upstream() {
  local arch name folder node=/usr/local/lib/aw-runner/node
  [ "$($node --version 2>/dev/null)" != "v$NODE_VERSION" ] || return 0
  case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *) log "no Node for $(uname -m)"; return 1 ;;
  esac
  name=node-v$NODE_VERSION-linux-$arch.tar.xz
  folder=$(mktemp -d)
  for file in "$name" SHASUMS256.txt; do
    curl -fsSL --retry 3 -o "$folder/$file" "https://nodejs.org/dist/v$NODE_VERSION/$file"
  done
  (cd "$folder" && grep -F "  $name" SHASUMS256.txt | sha256sum --check --quiet)
  tar -xJf "$folder/$name" -C "$folder" --strip-components=1 --no-same-owner --wildcards '*/bin/node'
  install -D -m 0755 "$folder/bin/node" "$node"
  rm -r "$folder"
}

cloudwatch_agent_from_upstream() {
  local package
  [ ! -x /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl ] || return 0
  package=$(mktemp --suffix=.deb)
  curl -fsSL --retry 3 -o "$package" \
    "https://amazoncloudwatch-agent.s3.amazonaws.com/ubuntu/$(dpkg --print-architecture)/latest/amazon-cloudwatch-agent.deb"
  dpkg -i "$package"
  rm "$package"
}

[ "$(id -u)" -eq 0 ] || { log "must run as root"; exit 1; }
# shellcheck disable=SC1091 # A file of the system.
. /etc/os-release
case "$ID:$VERSION_ID" in
  amzn:2023*) amazon_linux ;;
  ubuntu:24.04) ubuntu ;;
  *) log "$PRETTY_NAME is neither Amazon Linux 2023 nor Ubuntu 24.04"; exit 1 ;;
esac

# The user of jobs, unless a group names another one.
id runner >/dev/null 2>&1 || useradd --create-home --user-group --shell /bin/bash runner

# Optional: the program, which saves a download at boot while it is the one of the launch template.
if [ -e "$here/aw-runner.mjs" ]; then
  install -D -m 0644 "$here/aw-runner.mjs" /usr/local/lib/aw-runner/aw-runner.mjs
fi

"$here/check.sh"
