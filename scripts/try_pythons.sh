#!/usr/bin/env bash
# Install the package and run its demo on each supported Python that uv or pyenv has on this machine.
#
#   scripts/try_pythons.sh            # every one of them
#   scripts/try_pythons.sh 3.12 3.13  # these alone
#
# Each gets an environment of its own under a temporary folder, with the versions of constraints.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=("$@")
[ ${#wanted[@]} -gt 0 ] || wanted=(3.11 3.12 3.13 3.14)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

find_python() { # print the interpreter of a version such as 3.12, or nothing
  local version=$1 found
  found=$(uv python find --no-python-downloads "$version" 2>/dev/null || true)
  if [ -z "$found" ]; then
    found=$(find "${PYENV_ROOT:-$HOME/.pyenv}/versions" -maxdepth 3 -path "*/$version.*/bin/python" 2>/dev/null | sort -V | tail -1)
  fi
  echo "$found"
}

summary=()
failed=0
for version in "${wanted[@]}"; do
  python=$(find_python "$version")
  if [ -z "$python" ]; then
    summary+=("$version  not on this machine")
    continue
  fi
  home=$work/$version
  echo "== Python $version: $python"
  if "$python" -m venv "$home" &&
    "$home/bin/pip" install --quiet --disable-pip-version-check -c constraints.txt . &&
    (cd "$home" && bin/goft train trainer.max_steps=20 output_dir=demo); then
    summary+=("$version  installed, demo trained and merged")
  else
    summary+=("$version  FAILED")
    failed=1
  fi
  rm -rf "$home"
done
printf '%s\n' "${summary[@]}"
exit $failed
