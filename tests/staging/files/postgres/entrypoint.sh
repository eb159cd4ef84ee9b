# Makes the database on the first start, then becomes the server.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_USER:?}" "${POSTGRES_DB:?}" "${POSTGRES_PASSWORD:?}"
    # A start that was cut in the middle begins again.
    find "$PGDATA" -mindepth 1 -delete
    fresh=$PGDATA/.fresh
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    # The same trust as the official image: the socket, and loopback inside the container.
    initdb --pgdata="$fresh" --username="$POSTGRES_USER" --pwfile=/tmp/password \
        --auth-local=trust --auth-host=trust --encoding=UTF8 --no-sync >/dev/null
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>"$fresh/pg_hba.conf"
    cat >>"$fresh/postgresql.conf" <<'CONF'
listen_addresses = '*'
password_encryption = scram-sha-256
# A secret that reaches the server in plain text must show in the log.
log_statement = all
# Staging is thrown away; losing it in a crash costs nothing.
fsync = off
shared_buffers = 16MB
CONF
    if [ "$POSTGRES_DB" != postgres ]; then
        printf 'CREATE DATABASE "%s";\n' "$POSTGRES_DB" |
            postgres --single -D "$fresh" -c log_statement=none postgres >/dev/null
    fi
    # PG_VERSION goes last: it says that all the rest is there.
    find "$fresh" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    mv "$fresh/PG_VERSION" "$PGDATA/PG_VERSION"
    rmdir "$fresh"
fi

exec postgres
