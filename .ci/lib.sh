# Shared by the scripts of this folder, which source it. It moves to the root of
# the repository.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

# step TITLE: begins a part of the output.
step() { printf '\n== %s\n' "$*"; }

# fail MESSAGE...: ends the script.
fail() {
  printf 'error: %s\n' "$@" >&2
  exit 1
}

# need COMMAND HINT: fails when a command is not installed.
need() { command -v "$1" >/dev/null || fail "$1 is not installed: $2"; }

# tool MODFILE NAME ARGS...: runs a pinned tool; Go builds it once and caches it.
tool() {
  local modfile=$1
  shift
  go tool -modfile="$root/.ci/tools/$modfile" "$@"
}

# go_files: Go files that people write, tracked or new, NUL-separated.
go_files() { git ls-files -z --cached --others --exclude-standard -- '*.go' ':!proto/gen'; }

# apt_install COMMAND PACKAGE...: installs Debian packages unless the command, or
# the file of that path, is there already.
apt_install() {
  local command=$1
  shift
  if PATH=$PATH:/usr/sbin command -v "$command" >/dev/null || [ -e "$command" ]; then return; fi
  command -v apt-get >/dev/null || fail "$command is missing and there is no apt-get: install $* by hand"
  [ "$(id -u)" -eq 0 ] || fail "$command is missing: run 'apt-get install $*' as root, then try again"
  step "apt-get install $*"
  DEBIAN_FRONTEND=noninteractive apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# npm_install FOLDER: installs exactly what the lock file says, if it changed.
npm_install() {
  local lock=$1/package-lock.json stamp=$1/node_modules/.installed
  need npm "install Node 20 or later"
  if [ -f "$stamp" ] && cmp -s "$lock" "$stamp"; then return; fi
  step "npm ci in $1"
  npm ci --prefix "$1" --no-audit --no-fund --loglevel=error
  cp "$lock" "$stamp"
}
