#!/usr/bin/env bash
# Install headless Chromium from the distribution's packages where no Chromium is installed.
# Needs apt-get and root, both only then. Prints nothing where all is there.
set -euo pipefail

found() { command -v chromium-headless-shell chromium chromium-browser google-chrome > /dev/null; }

if found; then
  exit 0
fi
if ! command -v apt-get > /dev/null; then
  echo "install_browser.sh: no Chromium here, and no apt-get to install it with; install it with the" \
    "package manager of this system" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "install_browser.sh: no Chromium here; run once as root: apt-get install chromium" >&2
  exit 1
fi

echo "installing headless Chromium"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Debian has the part without windows in a package of its own. A font, because there may be none.
install() {
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    "$1" fonts-dejavu-core >> "$log" 2>&1
}
if ! install chromium-headless-shell; then
  apt-get update >> "$log" 2>&1 || true
  install chromium-headless-shell || install chromium || {
    cat "$log" >&2
    echo "install_browser.sh: apt-get could not install Chromium" >&2
    exit 1
  }
fi
found || { echo "install_browser.sh: the packages brought no Chromium" >&2; exit 1; }
