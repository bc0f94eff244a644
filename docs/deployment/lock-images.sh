#!/bin/sh
# Derives the lock files of the images from requirements.lock, so that an image holds the versions the tests ran with.
# Needs uv on the PATH; `make lock` provides it.
set -eu
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# medmnist asks for these; the product reads nothing but its table of data sets.
printf "%s ; python_version < '3'\n" fire pandas scikit-image >"$scratch/unused.txt"
printf "%s ; python_version < '3'\n" fire pandas scikit-image scikit-learn >"$scratch/unused-in-web.txt"
echo 'setuptools' >"$scratch/build.in"
echo 'tensorflow[and-cuda]' >"$scratch/gpu.in"

lock() {
  image=$1
  shift
  uv --system-certs pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
    --custom-compile-command 'make lock' --constraint requirements.lock "$@" --output-file "requirements-$image.lock"
}

lock build "$scratch/build.in"
lock web --extra s3 --overrides "$scratch/unused-in-web.txt" pyproject.toml
lock worker --extra s3 --extra worker --overrides "$scratch/unused.txt" pyproject.toml
lock worker-gpu --extra s3 --extra worker --overrides "$scratch/unused.txt" pyproject.toml "$scratch/gpu.in"
