#!/usr/bin/env bash
# Make a base image with Python from the packages of this machine's distribution, without a registry.
# Usage: containers/local/base.sh TAG
set -euo pipefail

tag=$1
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:?no codename in /etc/os-release}")

# The package sources of this machine, without those of third parties.
# shellcheck disable=SC2016
mapfile -t sources < <(
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' \
    | awk -v suite="$suite" '
        $3 == "main" && ($2 == suite || $2 == suite "-updates" || $2 == suite "-security") {
          print "deb", $1, $2, $3
        }' \
    | sort -u
)
if [ "${#sources[@]}" -eq 0 ]; then
  echo "base.sh: this machine has no source of packages for $suite" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "making $tag of $suite"
mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3-venv \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$suite" "$work/base.tar" "${sources[@]}"
podman import --quiet \
  --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
  "$work/base.tar" "$tag" > /dev/null
