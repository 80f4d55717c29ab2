#!/usr/bin/env bash
# Chromium from the system's packages, where none is found: the browser that tests and pictures use.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" > /dev/null; then
        exit 0
    fi
done
if ! command -v apt-get > /dev/null; then
    echo "no Chromium here, and no apt-get to install it with: install one by hand" >&2
    exit 1
fi
root=""
if [ "$(id -u)" != 0 ]; then
    root=$(command -v sudo) || { echo "no Chromium here: as root, apt-get install chromium" >&2; exit 1; }
fi
$root apt-get install -y -q -o DPkg::Lock::Timeout=300 chromium > /dev/null \
    || { $root apt-get update -q > /dev/null && $root apt-get install -y -q -o DPkg::Lock::Timeout=300 chromium > /dev/null; }
