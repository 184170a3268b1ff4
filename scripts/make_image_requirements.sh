#!/usr/bin/env bash
# Write containers/requirements.txt and requirements-torch.txt: what the images install, with the
# versions of constraints.txt and the hashes of every file of each release, for Linux and Python 3.11
# or newer. Usage: scripts/make_image_requirements.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv==0.13.9

compile() {
  local name=$1
  shift
  {
    printf '%s\n' '# Written by scripts/make_image_requirements.sh; use: pip install --require-hashes -r'
    # colorama is for Windows only.
    "$work/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
      --no-header --no-annotate --no-emit-package colorama --constraint constraints.txt "$@"
  } > "$work/$name"
  if grep -n -e '://' -e ' @ ' "$work/$name"; then
    echo "make_image_requirements.sh: the lines above hold an address" >&2
    exit 1
  fi
  mv "$work/$name" "containers/$name"
  echo "containers/$name: $(grep -c == "containers/$name") packages"
}

compile requirements.txt --extra s2cloudless --extra aws pyproject.toml containers/requirements.in
compile requirements-torch.txt containers/requirements-torch.in
