#!/usr/bin/env bash
# Dumps both databases and encrypts them on the way, into backups/offsite/<stamp>.<db>.dump.age
# (and .gpg where a GPG recipient is set). No plaintext touches the disk. Prints the paths.
#
# In .env, each with one or several recipients, separated by blanks or commas:
#   OFFSITE_BACKUP_AGE_RECIPIENT, OFFSITE_BACKUP_GPG_RECIPIENT
set -euo pipefail
umask 077
cd "$(dirname "$0")"

fail() {
    echo "backup-offsite.sh: $*" >&2
    exit 1
}

[ -r .env ] || fail "cannot read .env"

# The last assignment of a key in .env, without its quotes or trailing comment.
env_value() {
    sed -n -E "s/^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*=[[:space:]]*//p" .env | tail -n 1 |
        sed -E -e "s/^'([^']*)'.*/\\1/;t" -e 's/^"([^"]*)".*/\1/;t' -e 's/([[:space:]]+#.*|[[:space:]]+)$//'
}

age_args=()
for recipient in $(env_value OFFSITE_BACKUP_AGE_RECIPIENT | tr ',' ' '); do
    age_args+=(-r "$recipient")
done
gpg_args=()
for recipient in $(env_value OFFSITE_BACKUP_GPG_RECIPIENT | tr ',' ' '); do
    gpg_args+=(-r "$recipient")
done
[ $((${#age_args[@]} + ${#gpg_args[@]})) -gt 0 ] ||
    fail "neither OFFSITE_BACKUP_AGE_RECIPIENT nor OFFSITE_BACKUP_GPG_RECIPIENT is set in .env"

stamp=$(date -u +%Y%m%dT%H%M%S.%3NZ)
mkdir -p backups/offsite
part=$(mktemp -d "backups/offsite/.$stamp.XXXXXX")
trap 'rm -rf "$part"' EXIT

# service, role, database
dump() {
    docker compose exec -T "$1" pg_dump -U "$2" -Fc "$3" </dev/null
}

encrypt() {
    case $1 in
        age) age "${age_args[@]}" ;;
        gpg) gpg --batch --quiet --no-tty --trust-model always "${gpg_args[@]}" -e ;;
    esac
}

# age or gpg, then as for dump
archive() {
    local file=$stamp.$4.dump.$1
    [ ! -e "backups/offsite/$file" ] || fail "backups/offsite/$file exists already"
    dump "$2" "$3" "$4" | encrypt "$1" >"$part/$file" || fail "the $1 archive of $4 failed"
    [ -s "$part/$file" ] || fail "the $1 archive of $4 is empty"
}

for kind in age gpg; do
    args="${kind}_args[*]"
    [ -n "${!args-}" ] || continue
    archive "$kind" silver-postgres silver silver
    archive "$kind" authentik-postgresql authentik authentik
done

sync -f "$part"
for file in "$part"/*; do
    mv -n "$file" backups/offsite/
    echo "$PWD/backups/offsite/${file##*/}"
done
