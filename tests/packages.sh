#!/bin/sh
# Installs the Debian packages that the tests and the rehearsal use and this machine lacks.
set -eu
lacking=
need() { # command package
	command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || lacking="$lacking $2"
}
need sshd openssh-server
need ssh openssh-client
need busybox busybox
need mksh mksh
need dash dash
need bash bash
need sudo sudo
need doas opendoas
need script bsdutils
need age age
need gpg gpg
need python3 python3
# Its own module for environments that pip installs into.
python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || lacking="$lacking python3-venv"
need ansible-vault ansible-core
need psql postgresql-client
if ! command -v postgres >/dev/null 2>&1; then
	found=
	for dir in /usr/lib/postgresql/*/bin; do [ -x "$dir/postgres" ] && found=1; done
	[ -n "$found" ] || lacking="$lacking postgresql"
fi
[ -n "$lacking" ] || exit 0
run=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "these packages are needed and only root can install them:$lacking" >&2
		exit 1
	fi
	run=sudo
fi
echo "installing:$lacking"
# shellcheck disable=SC2086 # words on purpose
{ $run apt-get update -qq && DEBIAN_FRONTEND=noninteractive $run apt-get install -y -qq --no-install-recommends $lacking; } >/dev/null
