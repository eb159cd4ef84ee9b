#!/usr/bin/env bash
# Dumps both databases into backups/local/<stamp>/ and prints the paths of the dumps.
set -euo pipefail
umask 077
cd "$(dirname "$0")"

fail() {
    echo "backup-local.sh: $*" >&2
    exit 1
}

[ -r .env ] || fail "cannot read .env"

stamp=$(date -u +%Y%m%dT%H%M%S.%3NZ)
final=backups/local/$stamp
[ ! -e "$final" ] || fail "$final exists already"
mkdir -p backups/local
part=$(mktemp -d "backups/local/.$stamp.XXXXXX")
trap 'rm -rf "$part"' EXIT

# service, role, database
dump() {
    docker compose exec -T "$1" pg_dump -U "$2" -Fc "$3" </dev/null >"$part/$3.dump" ||
        fail "pg_dump of $3 in $1 failed"
    [ "$(head -c 5 "$part/$3.dump")" = PGDMP ] || fail "the dump of $3 is not a dump"
}

dump silver-postgres silver silver
dump authentik-postgresql authentik authentik

sync -f "$part"
mv -T "$part" "$final"
trap - EXIT
echo "$PWD/$final/silver.dump"
echo "$PWD/$final/authentik.dump"
