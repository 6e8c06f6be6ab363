# shellcheck shell=sh
# Python >= 3.11 and the pinned packages in .venv. A stamp tells whether anything changed since the last time.

# Prints a Python that is new enough and can make a virtual environment; fails when there is none.
find_python() {
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return 0
    fi
  done
  return 1
}

install_python_packages() {
  wanted=requirements.txt
  [ "$1" = no ] || wanted=requirements-dev.txt
  stamp=.venv/$wanted.stamp
  if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(find_python) || fail "Python 3.11 or newer is needed; this machine has $(python3 --version 2>&1)."
    say "Making .venv with $python"
    "$python" -m venv .venv
    rm -f .venv/*.stamp
  fi
  found=$(cat requirements.txt "$wanted" | sha256sum)
  [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$found" ] || return 0
  say "Installing Python packages ($wanted)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$wanted" >&2
  printf '%s\n' "$found" >"$stamp"
}
