#!/usr/bin/env bash
# The fast tests as on a device: without torch. For continuous integration beside `make test`.
#   tools/device_tests.sh lowest PYTHON   a larger part at the lowest versions that are allowed
#   tools/device_tests.sh newest          a part of the tests at the newest versions, on the newest
#                                         Python that this machine has beside the one of .venv-dev
set -euo pipefail
cd "$(dirname "$0")/.."

run() {  # name of the environment, python, resolution, arguments for pytest
    local venv=".venv-$1" uv=.venv-dev/bin/uv
    "$uv" venv --quiet --clear --python "$2" "$venv"
    # First the package alone: test tools are taken at their newest.
    "$uv" pip install --quiet --python "$venv/bin/python" --resolution "$3" -e .
    "$uv" pip install --quiet --python "$venv/bin/python" -e '.[test]'
    "$venv/bin/python" -m pytest "${@:4}"
}

# Every command, every room of the package.
rooms=(api commands dataset heads loop methods prompts records report seams storage)
# What lies closest to other packages: pictures, graphs, tensors, videos, messages, the page.
edges=(bad_photos classifier graph_file hostile image_input images providers text_tower)
if [ "$1" = lowest ]; then
    files=("${rooms[@]}" "${edges[@]}")
    files=("${files[@]/#/tests/test_}")
    files=("${files[@]/%/.py}" tests/watch)
    for file in tests/station/test_*.py; do
        case "$file" in  # these take long, and lie closest to no other package
            */test_command.py | */test_connections.py | */test_fuzz.py | */test_kills.py | */test_learner.py | */test_tuner.py) ;;
            *) files+=("$file") ;;
        esac
    done
    run lowest "$2" lowest-direct "${files[@]}"
    exit
fi
known=$(.venv-dev/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
for version in 3.14 3.13 3.12 3.11; do
    [ "$version" != "$known" ] || continue
    found=
    for python in "python$version" "$(pyenv root 2> /dev/null || true)"/versions/"$version".*/bin/python; do
        if "$python" -c 'import ensurepip, venv' 2> /dev/null; then found=$python; break; fi
    done
    if [ -z "$found" ]; then echo "python$version is not on this machine"; continue; fi
    echo "== python$version"
    files=("${rooms[@]/#/tests/test_}")
    run "$version" "$found" highest "${files[@]/%/.py}"
    break
done
