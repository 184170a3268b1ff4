#!/usr/bin/env bash
# Install PostgreSQL and PostGIS from the distribution's packages where they are missing.
# Needs apt-get and root, both only then. Prints nothing where all is there.
set -euo pipefail

found() { compgen -G '/usr/share/postgresql/*/extension/postgis.control' > /dev/null; }

if found; then
  exit 0
fi
if ! command -v apt-get > /dev/null; then
  echo "install_postgis.sh: no PostGIS here, and no apt-get to install it with; install PostgreSQL" \
    "and PostGIS with the package manager of this system" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "install_postgis.sh: no PostGIS here; run once as root:" \
    "apt-get install postgresql postgresql-postgis" >&2
  exit 1
fi

echo "installing PostgreSQL and PostGIS"
# The tests start a database of their own: the package is to make and start none.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] \
  || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    -o Dpkg::Options::=--force-confold postgresql postgresql-postgis >> "$log" 2>&1
}
if ! install; then
  apt-get update >> "$log" 2>&1 || true
  install || { cat "$log" >&2; echo "install_postgis.sh: apt-get could not install them" >&2; exit 1; }
fi
found || { echo "install_postgis.sh: the packages brought no PostGIS" >&2; exit 1; }
