#!/bin/sh
# Fetches what package-lock.json names and bundles it into templates/static/dist,
# which the binary embeds. Does nothing when the result is newer than its sources.
#   build.sh          build if needed
#   build.sh -force   build
set -eu
cd "$(dirname "$0")"
dist=../static/dist
result=$dist/htmx.js

fresh() {
  [ -s "$result" ] && [ -s $dist/editor.js ] && [ -s $dist/DejaVuSans.ttf ] && [ -s $dist/DejaVuSans-Bold.ttf ] || return 1
  for source in package.json package-lock.json htmx.js editor.js build.sh; do
    [ "$result" -nt "$source" ] || return 1
  done
}
if [ "${1:-}" != -force ] && fresh; then
  exit 0
fi

command -v npm >/dev/null || { echo "assets: npm is missing (Debian: apt install npm)" >&2; exit 1; }
echo "assets: npm ci (htmx, the editor, esbuild, fonts of the letters)"
npm ci --prefer-offline --ignore-scripts --no-audit --no-fund --loglevel=error
echo "assets: esbuild → templates/static/dist"
node_modules/.bin/esbuild htmx.js --bundle --minify --format=iife --target=es2020 --legal-comments=inline \
  --log-level=warning --outfile="$result.new"
node_modules/.bin/esbuild editor.js --bundle --minify --format=esm --target=es2022 --legal-comments=inline \
  --log-level=warning --outfile="$dist/editor.js"
cp node_modules/dejavu-fonts-ttf/ttf/DejaVuSans.ttf node_modules/dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf $dist/
mv "$result.new" "$result"
for bundle in "$result" $dist/editor.js; do
  echo "assets: $(basename "$bundle") $(wc -c <"$bundle") bytes, $(gzip -9c "$bundle" | wc -c) compressed"
done
