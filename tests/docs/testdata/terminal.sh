#!/usr/bin/env bash
# A terminal that somebody pastes into: runs the files that are named in a FIFO,
# one after the other in one shell, and says after each whether a command failed.

exec 3<>"$1"
trap 'failed=$?' ERR
while IFS= read -r file <&3; do
  failed=0
  # shellcheck disable=SC1090 # the test says which
  . "$file" </dev/null 3<&-
  printf '== %s: %s\n' "$file" "$failed"
done
