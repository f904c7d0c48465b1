#!/usr/bin/env bash
# Whether the miner of this container is alive, asked with what the image has: bash itself.
set -euo pipefail
listen=${CONVMINER_ADMIN_LISTEN:-127.0.0.1:9091}
exec 3<>"/dev/tcp/127.0.0.1/${listen##*:}"
printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
IFS= read -r -t 2 status <&3
[[ "$status" == "HTTP/1.1 200 "* ]]
