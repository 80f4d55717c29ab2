#!/usr/bin/env bash
# The fast tests as on a device: without torch. For continuous integration beside `make test`.
#   tools/device_tests.sh lowest PYTHON   the lowest versions that pyproject.toml allows
#   tools/device_tests.sh newest          a part of the tests at the newest versions, on each Python
#                                         that this machine has, but for the one of .venv-dev
set -euo pipefail
cd "$(dirname "$0")/.."

run() {  # name of the environment, python, resolution, arguments for pytest
    local venv=".venv-$1"
    "$2" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
    # First the package alone: test tools are taken at their newest.
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --resolution "$3" -e .
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" -e '.[test]'
    "$venv/bin/python" -m pytest "${@:4}"
}

if [ "$1" = lowest ]; then
    # But for those whose subject is the system, not the packages.
    run lowest "$2" lowest-direct --ignore=tests/test_interleavings.py \
        --ignore=tests/test_system_calls.py --ignore=tests/test_privacy.py \
        --ignore=tests/test_resume.py --ignore=tests/test_docs.py --ignore=tests/test_terminal.py \
        --ignore=tests/test_run_folder.py --ignore=tests/test_workspace.py
    exit
fi
# Every command, every room of the package.
core=(api commands dataset fusion heads left_out loop loss methods prompts records report seams storage)
known=$(.venv-dev/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
for version in 3.11 3.12 3.13 3.14; do
    [ "$version" != "$known" ] || continue
    found=
    for python in "python$version" "$(pyenv root 2> /dev/null || true)"/versions/"$version".*/bin/python; do
        if "$python" -c 'import ensurepip, venv' 2> /dev/null; then found=$python; break; fi
    done
    if [ -z "$found" ]; then echo "python$version is not on this machine"; continue; fi
    echo "== python$version"
    files=("${core[@]/#/tests/test_}")
    run "$version" "$found" highest "${files[@]/%/.py}"
done
