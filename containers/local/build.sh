#!/usr/bin/env bash
# Build targets of containers/Dockerfile on a base of this machine's distribution; print their sizes.
# Usage: containers/local/build.sh PYTHON [TARGET...]    (PYTHON has pip; batch and lambda by default)
# BASE_IMAGE=... takes a base that is there already, or that podman can pull.
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
mapfile -t mounts < "$work/mounts"

for target in "${targets[@]}"; do
  tag=localhost/cloudbuster/$target:local
  echo "building $tag"
  # The host's network: for packages alone, and without the rules of a bridge.
  podman build --quiet --network host "${mounts[@]}" --build-arg BASE_IMAGE="$base" \
    --file "$root/containers/Dockerfile" --target "$target" --tag "$tag" "$root" \
    > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  podman image inspect --format '{{.Size}}' "$tag" \
    | awk -v tag="$tag" '{ printf "%s: %.0f MB\n", tag, $1 / 1e6 }'
done
