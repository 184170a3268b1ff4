#!/usr/bin/env bash
# Install podman and the programs that make a base image from the distribution's packages, if they are
# missing. Only then it needs apt-get. Prints nothing if all of them are installed.
set -euo pipefail

programs=(podman runc mmdebstrap ip)
packages=(podman buildah runc mmdebstrap netavark iproute2)

missing() {
  for program in "${programs[@]}"; do
    command -v "$program" > /dev/null || return 0
  done
  return 1
}

if [ "$(id -u)" -ne 0 ]; then
  echo "install.sh: images are built and run as root here; try: sudo make image" >&2
  exit 1
fi
# For root with the path of a user.
export PATH=$PATH:/usr/sbin:/sbin
missing || exit 0
if ! command -v apt-get > /dev/null; then
  echo "install.sh: ${programs[*]} are not all here, and no apt-get to install them with; skipped." \
    "Install them with the package manager of this system" >&2
  exit 1
fi

echo "installing ${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    -o Dpkg::Options::=--force-confold "${packages[@]}" >> "$log" 2>&1
}
if ! install; then
  apt-get update >> "$log" 2>&1 || true
  install || {
    cat "$log" >&2
    echo "install.sh: apt-get could not install ${packages[*]}; skipped" >&2
    exit 1
  }
fi
if missing; then
  echo "install.sh: the packages did not bring all of: ${programs[*]}" >&2
  exit 1
fi
