#!/usr/bin/env bash
# Installs what the build needs from the system (Debian or Ubuntu): a C compiler, Python's headers and venv, and
# the libraries of the kernel: libssl (3.0 or later) and libnghttp2.
# Does nothing where all of it is there. Needs root or sudo only when something is missing.
set -euo pipefail
python=${PYTHON:-python3}

missing=()
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
command -v "$python" >/dev/null || missing+=(python3)
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then missing+=(python3-venv); fi
if ! "$python" -c 'import os, sysconfig as s, sys; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' 2>/dev/null; then
  missing+=(python3-dev)
fi
[ -e /usr/include/openssl/ssl.h ] || missing+=(libssl-dev)
[ -e /usr/include/nghttp2/nghttp2.h ] || missing+=(libnghttp2-dev)
command -v curl >/dev/null || missing+=(curl)
command -v ss >/dev/null || missing+=(iproute2)
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "Please install: ${missing[*]} (no apt-get on this system)" >&2
  exit 1
fi
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
echo "installing from the system's packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq
as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
