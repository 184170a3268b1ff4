#!/usr/bin/env bash
# Build targets of containers/Dockerfile on a base of this machine's distribution; print their sizes.
# Usage: containers/local/build.sh PYTHON [TARGET...]    (PYTHON has pip; batch and lambda by default)
# BASE_IMAGE=... names a base image that exists already, or that podman can pull. TORCH_INDEX=... is
# the package index of PyTorch for the target batch-torch, and TORCH_HASH=... the SHA-256 of its wheel.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export CONTAINERS_CONF=$here/containers.conf PATH=$PATH:/usr/sbin:/sbin

python=$1
shift
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || targets=(batch lambda)

base=${BASE_IMAGE:-localhost/cloudbuster/base:local}
if [ -z "${BASE_IMAGE:-}" ] && ! podman image exists "$base"; then
  "$here/base.sh" "$base"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip config list | "$python" "$here/pip_mounts.py" "$work" > "$work/mounts"
mapfile -t options < "$work/mounts"
options+=(--build-arg "BASE_IMAGE=$base")
[ -z "${TORCH_INDEX:-}" ] || options+=(--build-arg "TORCH_INDEX=$TORCH_INDEX")
[ -z "${TORCH_HASH:-}" ] || options+=(--build-arg "TORCH_HASH=$TORCH_HASH")

identity() {
  podman image inspect --format '{{.Id}}' "$1" 2> /dev/null || true
}

# A tag keeps the stage `build`, which installs the packages, for the next build.
for target in build "${targets[@]}"; do
  tag=localhost/cloudbuster/$target:local
  before=$(identity "$tag")
  echo "building $tag"
  # The host's network needs no rules for a bridge; the build uses it for packages only.
  podman build --quiet --network host "${options[@]}" \
    --file "$root/containers/Dockerfile" --target "$target" --tag "$tag" "$root" \
    > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  # Remove the previous image, of more than half a gigabyte.
  if [ -n "$before" ] && [ "$before" != "$(identity "$tag")" ]; then
    podman image rm "$before" > /dev/null 2>&1 || true
  fi
done
for target in "${targets[@]}"; do
  tag=localhost/cloudbuster/$target:local
  podman image inspect --format '{{.Size}}' "$tag" \
    | awk -v tag="$tag" '{ printf "%s: %.0f MB\n", tag, $1 / 1e6 }'
done
