#!/bin/sh
# Fetches the relying parties that package-lock.json names. Does nothing when they are there.
set -eu
cd "$(dirname "$0")"
mark=node_modules/.package-lock.json
if [ -s "$mark" ] && [ "$mark" -nt package-lock.json ] && [ "$mark" -nt package.json ]; then
  exit 0
fi
echo "peers: npm ci (openid-client, oidc-client-ts)"
npm ci --prefer-offline --ignore-scripts --no-audit --no-fund --loglevel=error
