#!/usr/bin/env bash
# The database password rotation, rehearsed whole: a VPS is raised, the real playbook runs against
# it as an operator would run it, and what was raised goes again. Stops at the first thing that isn't
# as it must be.
#
#   tests/staging/rehearse.sh [auto|docker|sandbox]      or: make rehearse
set -euo pipefail
cd "$(dirname "$0")/../.."

kind=${1:-auto}
profile=${PROFILE:-release}
place=$PWD/tests/staging/.raised/rehearse
raised=inventory/staging/host_vars/vps/raised.yml
logs=$(mktemp -d)
began=$SECONDS

step() { printf '\n==> %s\n' "$*"; }
fail() {
    printf '\nREHEARSAL FAILED after %d s: %s\n' $((SECONDS - began)) "$*" >&2
    exit 1
}
project=rehearsal-$$ # what locks are named after
export SEQN_PLAY_RUN_DIR=$logs/runs
own() { case $1 in *.yml | resume | rollback) echo "--project $project" ;; esac; }
run() {
    printf '$ seqn-play %s\n' "$*"
    # shellcheck disable=SC2046 # words on purpose
    "$play" "$@" $(own "$1") 2>&1 | tee "$logs/last"
}
must() { run "$@" || fail "seqn-play ended with status ${PIPESTATUS[0]}, and must succeed"; }

# The tasks that said `changed`, one a line.
changed() { sed -n -E -e '/^(TASK|RUNNING HANDLER) \[/{s/^[A-Z ]+\[(.*)\] \**$/\1/;h;}' -e '/^changed:/{g;p;}' "$logs/last" | sort -u; }

finish() {
    status=$?
    trap - EXIT INT TERM
    step "Removing what was raised"
    rm -f "$raised" "$place/new.yml"
    rm -rf "$logs" "/var/tmp/seqn-play/$project"
    "$staging" down --dir "$place" || { echo "staging down failed: $staging down --dir $place" >&2; status=1; }
    rmdir "$place" "${place%/*}" 2>/dev/null || true # another one may be raised beside it
    [ "$status" -ne 0 ] || printf '\nREHEARSAL PASSED in %d s\n' $((SECONDS - began))
    exit "$status"
}

step "Building"
flags=()
[ "$profile" != release ] || flags+=(--release)
${CARGO:-cargo} build --quiet --locked "${flags[@]}" --bins
built=${CARGO_TARGET_DIR:-target}/$profile
play=$built/seqn-play
staging=$built/staging

step "Raising a staging VPS ($kind)"
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$staging" up --dir "$place" --kind "$kind" >"$logs/raised.json"
install -m 0600 "$place/raised.yml" "$raised"
directory=$(sed -E 's/.*"project_dir":"([^"]*)".*/\1/' "$logs/raised.json")
export SEQN_AGE_IDENTITY=$place/operator/age-identity.txt

state() { sha256sum <"$directory/.env"; }
before=$(state)

new=$place/new.yml
(
    umask 077
    printf 'new_password: %s\n' "$(LC_ALL=C tr -dc A-Za-z0-9 </dev/urandom | head -c 40)" >"$new"
)

step "Lint"
must lint playbooks roles

step "Check mode: predicts, and changes nothing"
must rotate-db-password.yml -i staging -e database=silver -e "@$new" --check
[ "$(state)" = "$before" ] || fail "check mode changed .env"
grep -q '^changed:' "$logs/last" || fail "check mode predicted no change"

step "The rotation"
must rotate-db-password.yml -i staging -e database=silver -e "@$new"
[ "$(state)" != "$before" ] || fail ".env is as before the rotation"
for task in 'Rotate the Postgres role password inside the target database' 'Update the matching .env variable' \
    'Recreate dependent containers'; do
    changed | grep -qF "$task" || fail "the rotation did not report as changed: $task"
done

step "A second run with the same value: only the fresh backups change"
after=$(state)
must rotate-db-password.yml -i staging -e database=silver -e "@$new"
[ "$(state)" = "$after" ] || fail "the second run changed .env"
odd=$(changed | grep -v -E 'Take a fresh (local|offsite) backup$' || true)
[ -z "$odd" ] || fail "the second run also changed: $odd"

step "Every password, newly made"
must rotate-db-password.yml -i staging -e database=all
after=$(state)

step "A rotation whose proof fails: everything comes back"
run rotate-db-password.yml -i staging -e database=silver \
    -e '{"seqn_health_checks": [{"name": "what is gone afterwards", "status": 200,
        "url": "{{ \"http://127.0.0.1:1/\" if db_altered is defined else seqn_api_url ~ \"/healthz\" }}"}]}' &&
    fail "a rotation whose health check fails succeeded"
[ "$(state)" = "$after" ] || fail ".env was not restored"
grep -q 'Everything was undone' "$logs/last" || fail "the operator was not told that everything was undone"

step "And after that, the rotation works"
must rotate-db-password.yml -i staging -e database=silver

step "Killed in the middle: the database has the new password, .env the old one"
before=$(state)
newest() { printf '%s\n' "$SEQN_PLAY_RUN_DIR"/[0-9]* | sort | tail -n 1; }
earlier=$(newest)
# Only of the run that begins now.
journal() { [ "$(newest)" != "$earlier" ] && cat "$(newest)/journal"; }
"$play" rotate-db-password.yml -i staging -e database=silver --project "$project" >"$logs/last" 2>&1 &
rotation=$!
its_id='s/.*"intent":{"step":{"instance":"\([^"]*\)".*"label":"change the role silver".*/\1/p'
until id=$(journal 2>/dev/null | sed -n "$its_id") && [ -n "$id" ] || ! kill -0 $rotation; do :; done
until journal | grep -qF "\"done\":{\"step\":{\"instance\":\"$id\"" || ! kill -0 $rotation; do :; done
kill -KILL $rotation || fail "the rotation ended before it could be killed"
wait $rotation 2>/dev/null || true # its status is that of the kill
must runs
run rotate-db-password.yml -i staging -e database=silver && fail "a new run began beside an unfinished one"
must resume last
[ "$(state)" != "$before" ] || fail ".env is as before the rotation"

step "And back again"
must rollback last
[ "$(state)" = "$before" ] || fail ".env is not as before the rotation"
must rotate-db-password.yml -i staging -e database=silver --check
