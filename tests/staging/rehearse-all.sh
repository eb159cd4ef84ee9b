#!/usr/bin/env bash
# Every rotation of the runbook, rehearsed whole with all faults, on sandboxes that share the cases and
# are brought back to one state between them; one that is finished later is rehearsed with its end, and
# then its end alone, with its own faults. Prints a table; fails if one of them fails.
#
#   tests/staging/rehearse-all.sh [WORD...]      or: make rehearse-all
#
# WORD takes only rotations with it in their line (oidc). FLAGS are more flags of `seqn-play rehearse`
# (FLAGS=--quick, FLAGS='--shard 1/4'); PLACES is the number of sandboxes, by default one a core.
set -euo pipefail
cd "$(dirname "$0")/../.."

profile=${PROFILE:-release}
places=${PLACES:-$(nproc)}
root=$PWD/tests/staging/.raised/rehearse-all
project=rehearse-all-$$ # what locks of plain runs are named after
began=$SECONDS

# What is typed for each, and behind the bar the flags that finish it; NEW, BOTH and KEY stand for files
# with a new value, with one for each database, and with a new backup key.
rotations=(
    "rotate-db-password.yml -e database=silver -e @NEW"
    "rotate-db-password.yml -e database=all -e stop_writes=true -e @BOTH"
    "rotate-session-secret.yml -e @NEW"
    "rotate-oidc-client-secret.yml -e @NEW"
    "rotate-authentik-api-token.yml -e @NEW | --tags finish -e confirm=authentik_api_token"
    "rotate-backup-key.yml -e new_key=KEY | --tags finish -e confirm=backup_key.age -e seqn_age_identity_file=KEY"
    "rotate-project-secret.yml -e project=shop"
    "rotate-webhook-secret.yml -e receiver=shop-webhooks | --tags finish -e confirm=webhook_secret.shop-webhooks"
    "rotate-webhook-secret.yml -e receiver=legacy-webhooks"
)

finish() {
    status=$?
    trap - EXIT INT TERM
    for n in $(seq "$places"); do
        "$staging" down --dir "$root/$n" >/dev/null || status=1
    done
    rm -rf "$root" "/var/tmp/seqn-play/$project"
    rmdir "${root%/*}" 2>/dev/null || true # another one may be raised beside it
    exit "$status"
}

flags=()
[ "$profile" != release ] || flags+=(--release)
${CARGO:-cargo} build --quiet --locked "${flags[@]}" --bins
built=$(realpath "${CARGO_TARGET_DIR:-target}")/$profile
play=$built/seqn-play
staging=$built/staging

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
inventories=()
for n in $(seq "$places"); do
    "$staging" up --dir "$root/$n" --kind sandbox >/dev/null
    "$staging" snapshot --dir "$root/$n" --name first
    # An inventory beside its place, which `restore` finds by it.
    cp -r inventory/staging "$root/$n/staging"
    install -m 0600 "$root/$n/raised.yml" "$root/$n/staging/host_vars/vps/raised.yml"
    inventories+=("$root/$n/staging")
done
export SEQN_AGE_IDENTITY=$root/1/operator/age-identity.txt
given=()
for other in "${inventories[@]:1}"; do given+=(--place "$other"); done

umask 077
random() { LC_ALL=C tr -dc A-Za-z0-9 </dev/urandom | head -c 40; }
printf 'new_password: %s\nnew_secret: %s\n' "$(random)" "$(random)" >"$root/new.yml"
printf 'new_passwords: {silver: %s, authentik: %s}\n' "$(random)" "$(random)" >"$root/both.yml"
"$play" secret keygen "$root/new-key.txt" >/dev/null

table=() failed=0
# SNAPSHOT FLAGS...: a rehearsal from that state, and a row of the table.
rehearse() {
    local from=$1 since=$SECONDS result=passed
    shift
    printf '\n$ seqn-play rehearse %s\n' "$*"
    # shellcheck disable=SC2086 # words on purpose
    "$play" rehearse "$@" -i "${inventories[0]}" "${given[@]}" ${FLAGS:-} \
        --restore "$staging restore --dir \"\$(dirname \"\$SEQN_PLAY_INVENTORY\")\" --name $from" || result=FAILED
    [ "$result" = passed ] || failed=1
    table+=("$(printf '%-7s %5d s  %s' "$result" $((SECONDS - since)) "${*//"$root"\//}")")
}
# COMMAND...: with --dir of each place.
everywhere() { for n in $(seq "$places"); do "$staging" "$@" --dir "$root/$n"; done; }

for line in "${rotations[@]}"; do
    wanted=$#
    for word in "$@"; do [[ $line != *"$word"* ]] || wanted=0; done
    [ "$wanted" = 0 ] || continue
    line=${line//NEW/$root/new.yml}
    line=${line//BOTH/$root/both.yml}
    line=${line//KEY/$root/new-key.txt}
    IFS='|' read -r rotation finish <<<"$line"
    read -ra rotation_words <<<"$rotation"
    read -ra finish_words <<<"$finish"
    rehearse first "${rotation_words[@]}" ${finish:+--finish "${finish_words[*]}"}
    everywhere restore --name first
    [ -n "$finish" ] || continue
    for inventory in "${inventories[@]}"; do
        "$play" "${rotation_words[@]}" -i "$inventory" --project "$project" --run-dir "$root/runs" >"$root/said" ||
            { cat "$root/said"; exit 1; }
    done
    everywhere snapshot --name rotated
    rehearse rotated "${rotation_words[@]}" "${finish_words[@]}"
    everywhere restore --name first
done

printf '\n'
printf '%s\n' "${table[@]}"
printf '%d s in all\n' $((SECONDS - began))
exit "$failed"
