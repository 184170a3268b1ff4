#!/usr/bin/env bash
# Resolve the newest versions of everything that the `dev` extra needs and write constraints.txt.
# Nothing but names and versions goes into the file. Usage: scripts/make_constraints.sh [PYTHON]
# torch stays at the release that is pinned now: raise it by hand, to one with a CPU build at hand.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --upgrade pip
"$work/venv/bin/python" -m pip install --quiet '.[dev]' "$(grep '^torch==' constraints.txt)"

# A local version (torch's +cpu) names one build of a release, and so do the CUDA packages that come
# with another build: any build of it will do.
{
  printf '%s\n' \
    '# Versions that cloudbuster is built and tested with: everything that the `dev` extra needs.' \
    '# Written by scripts/make_constraints.sh; use: pip install -c constraints.txt cloudbuster'
  "$work/venv/bin/python" -m pip freeze --exclude cloudbuster \
    | sed -e '/^-e /d' -e '/^#/d' -e 's/+[a-z0-9.]*$//' -e '/^\(nvidia-\|cuda-\|triton==\)/d' \
    | LC_ALL=C sort --ignore-case
} > "$work/constraints.txt"

if grep -n -e '://' -e ' @ ' "$work/constraints.txt"; then
  echo "make_constraints.sh: the lines above hold an address, only NAME==VERSION may be kept" >&2
  exit 1
fi
mv "$work/constraints.txt" constraints.txt
echo "constraints.txt: $(grep -c == constraints.txt) packages"
