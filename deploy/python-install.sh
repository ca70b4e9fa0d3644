#!/bin/sh
# Installs into the image's Python environment, /opt/seta. Used by the build stages of deploy/Containerfile only.
#   python-install.sh requirements FILE   what others made, by hash, without what only their developers need
#   python-install.sh members DIR...      our own packages, below /out, so that they become a layer of their own
set -eu
subject=$1
shift
install() { pip --python /opt/seta/bin/python install -q --no-deps --no-cache-dir --no-compile "$@"; }
# The files of an image never change, so that Python need not look whether they did.
compile() { python3 -m compileall -q --invalidation-mode unchecked-hash "$@"; }

case $subject in
requirements)
	install --require-hashes -r "$1"
	find /opt/seta/lib \( -type d -name tests -prune -o -name '*.pyi' \) -exec rm -r {} +
	compile /opt/seta/lib
	;;
members)
	pip wheel -q --no-deps --no-build-isolation --wheel-dir /tmp/members "$@"
	install --no-index --root /out /tmp/members/*.whl
	compile -s /out /out
	;;
esac
