#!/usr/bin/env bash
# Removes backups that are older than BACKUP_RETENTION_DAYS of .env, by the time in their names, and
# prints their paths; the newest of each database stays whatever its age. With --dry-run it only
# prints what it would remove.
set -euo pipefail
cd "$(dirname "$0")"

fail() {
    echo "backup-prune.sh: $*" >&2
    exit 1
}

dry=
case ${1-} in
    '') ;;
    --dry-run) dry=1 ;;
    *) fail "only --dry-run is known, not $1" ;;
esac

days=$(sed -n -E 's/^BACKUP_RETENTION_DAYS=["'\'']?([0-9]+).*/\1/p' .env | tail -n 1)
[ -n "$days" ] || fail "BACKUP_RETENTION_DAYS is not set in .env"
# Names that sort before it are older.
oldest=$(date -u -d "$days days ago" +%Y%m%dT%H%M%S.%3NZ)

# Reads names, oldest first; all but the last that are too old.
expired() {
    head -n -1 | while read -r name; do
        [[ $name > $oldest ]] || echo "$name"
    done
}

drop() {
    echo "$PWD/$1"
    [ -n "$dry" ] || rm -rf "${1:?}"
}

for name in $(find backups/local -mindepth 1 -maxdepth 1 -type d -name '2*Z' -printf '%f\n' | sort | expired); do
    drop "backups/local/$name"
done
for kind in silver.dump.age authentik.dump.age silver.dump.gpg authentik.dump.gpg; do
    for name in $(find backups/offsite -maxdepth 1 -type f -name "2*.$kind" -printf '%f\n' | sort | expired); do
        drop "backups/offsite/$name"
    done
done
