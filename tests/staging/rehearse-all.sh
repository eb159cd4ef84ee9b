#!/usr/bin/env bash
# Every rotation of the runbook, rehearsed whole with all faults, on sandboxes that share the cases and
# are brought back to one state between them; one that is finished later is rehearsed with its end, and
# then its end alone, with its own faults. Prints a table; fails if one of them fails.
#
#   tests/staging/rehearse-all.sh [WORD...]      or: make rehearse-all
#
# WORD takes only rotations with it in their line (oidc). FLAGS are more flags of `seqn-play rehearse`
# (FLAGS=--quick, FLAGS='--shard 1/4'); PLACES is the number of sandboxes, by default three a core, since a
# part of a case is waiting. SAMPLE=N takes the first rotation whole and of the others the Nth part of the cases;
# which part the number SEED says, by default another one each time.
# KIND=docker takes one place with Docker, which is raised anew for each; without faults, since its state
# can't be kept and brought back.
set -euo pipefail
cd "$(dirname "$0")/../.."

profile=${PROFILE:-release}
kind=${KIND:-sandbox}
places=${PLACES:-$((3 * $(nproc)))}
seed=${SEED:-$RANDOM}
[ "$kind" = sandbox ] || places=1
root=$PWD/tests/staging/.raised/rehearse-all
project=rehearse-all-$$ # what locks of plain runs are named after
began=$SECONDS

# What is typed for each, and behind the bar the flags that finish it; NEW, BOTH and KEY stand for files
# with a new value, with one for each database, and with a new backup key; NEXT is the fingerprint of a
# new GPG key, OLDKEYS and NEWKEYS files that name the one in use and the new one as the inventory does.
rotations=(
    "rotate-db-password.yml -e database=silver -e @NEW"
    "rotate-db-password.yml -e database=all -e stop_writes=true -e @BOTH"
    "rotate-session-secret.yml -e @NEW"
    "rotate-oidc-client-secret.yml -e @NEW"
    "rotate-authentik-api-token.yml -e @NEW | --tags finish -e confirm=authentik_api_token"
    "rotate-backup-key.yml -e new_key=KEY | --tags finish -e confirm=backup_key.age -e seqn_age_identity_file=KEY"
    "rotate-backup-key.yml -e kind=gpg -e new_key=NEXT -e @OLDKEYS | --tags finish -e confirm=backup_key.gpg -e @NEWKEYS"
    "rotate-project-secret.yml -e project=shop"
    "rotate-webhook-secret.yml -e receiver=shop-webhooks | --tags finish -e confirm=webhook_secret.shop-webhooks"
    "rotate-webhook-secret.yml -e receiver=legacy-webhooks"
)

for word in "$@"; do
    [[ "${rotations[*]}" == *"$word"* ]] || { printf 'no rotation has %s in its line\n' "$word" >&2; exit 1; }
done

finish() {
    status=$?
    trap - EXIT INT TERM
    for n in $(seq "$places"); do
        "$staging" down --dir "$root/$n" >/dev/null || status=1
    done
    gpgconf --kill all
    rm -rf "$GNUPGHOME"
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

# The operator's, who has two keys. Its agent wants a short path.
GNUPGHOME=$(mktemp -d)
export GNUPGHOME
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# N: the place of that number, with an inventory beside it, by which `restore` finds it.
raise() {
    "$staging" up --dir "$root/$1" --kind "$kind" >/dev/null
    rm -rf "$root/$1/staging"
    cp -r inventory/staging "$root/$1/staging"
    install -m 0600 "$root/$1/raised.yml" "$root/$1/staging/host_vars/vps/raised.yml"
}
inventories=()
for n in $(seq "$places"); do
    raise "$n"
    [ "$kind" != sandbox ] || "$staging" snapshot --dir "$root/$n" --name first
    inventories+=("$root/$n/staging")
done
export SEQN_AGE_IDENTITY=$root/1/operator/age-identity.txt
given=()
for other in "${inventories[@]:1}"; do given+=(--place "$other"); done

# What is ill is ill until it is mended: no need to wait for long.
short=(-e seqn_health_patience=2 -e seqn_wait_timeout=10)

umask 077
random() { LC_ALL=C tr -dc A-Za-z0-9 </dev/urandom | head -c 40; }
printf 'new_password: %s\nnew_secret: %s\n' "$(random)" "$(random)" >"$root/new.yml"
printf 'new_passwords: {silver: %s, authentik: %s}\n' "$(random)" "$(random)" >"$root/both.yml"
"$play" secret keygen "$root/new-key.txt" >/dev/null

# NAME: the fingerprint of a new GPG key.
gpg_key() {
    gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key "$1@backup.invalid" default default never
    gpg --batch --with-colons --list-keys "$1@backup.invalid" | awk -F: '/^fpr/ { print $10; exit }'
}
# FINGERPRINT: the backup keys as the inventory names them.
backup_keys() {
    printf 'seqn_backup_keys:\n'
    printf "  age: {private: '{{ seqn_age_identity_file }}', env_key: OFFSITE_BACKUP_AGE_RECIPIENT, max_age_days: 365}\n"
    printf '  gpg: {private: %s, env_key: OFFSITE_BACKUP_GPG_RECIPIENT, max_age_days: 365}\n' "$1"
}
gpg_old=$(gpg_key old) gpg_next=$(gpg_key next)
backup_keys "$gpg_old" >"$root/old-keys.yml"
backup_keys "$gpg_next" >"$root/new-keys.yml"
cat >"$root/with-gpg.yml" <<'END'
- hosts: seqn
  gather_facts: false
  tasks:
    - seqn.play.gpg_key: {fingerprint: '{{ key }}'}
    - seqn.play.dotenv: {path: '{{ seqn_env_file }}', key: OFFSITE_BACKUP_GPG_RECIPIENT, value: '{{ key }}'}
END

newest() { printf '%s\n' .seqn-play/rehearsals/[0-9]* | sort | tail -n 1; }
table=() failed=0 all_well=0 all_tried=0
# SNAPSHOT FLAGS...: a rehearsal from that state, and a row of the table.
rehearse() {
    local from=$1 since=$SECONDS result=passed earlier
    local part=()
    [ -z "${SAMPLE:-}" ] || [ ${#table[@]} = 0 ] || part=(--shard "$((1 + seed % SAMPLE))/$SAMPLE")
    local how=(--only lint,check,run,prediction,again,rollback,outage,leaks)
    [ "$kind" != sandbox ] ||
        how=(--restore "$staging restore --dir \"\$(dirname \"\$SEQN_PLAY_INVENTORY\")\" --name $from")
    shift
    earlier=$(newest)
    printf '\n$ seqn-play rehearse %s\n' "$*"
    # shellcheck disable=SC2086 # words on purpose
    "$play" rehearse "$@" -i "${inventories[0]}" "${given[@]}" "${short[@]}" "${part[@]}" ${FLAGS:-} "${how[@]}" || result=FAILED
    [ "$result" = passed ] || failed=1
    table+=("$(printf '%-7s %5d s  %s' "$result" $((SECONDS - since)) "${*//"$root"\//}")")
    [ "$(newest)" != "$earlier" ] || return 0
    local told
    told=$(newest)/rehearsal.txt
    table+=("$(sed -n -E 's/^outage .* s  /                 away /p' "$told")")
    # 12 of 12 led to a place that is well (240 cases in all)
    while read -r well _ tried _; do
        table+=("                 $well of $tried cases well")
        all_well=$((all_well + well)) all_tried=$((all_tried + tried))
    done < <(sed -n -E 's/^faults .* s  ([0-9]+ of [0-9]+ led )/\1/p' "$told")
}
# PLAYBOOK FLAGS...: a plain run on each place.
run_everywhere() {
    for inventory in "${inventories[@]}"; do
        "$play" "$@" -i "$inventory" --project "$project" --run-dir "$root/runs" >"$root/said" ||
            { cat "$root/said"; exit 1; }
    done
}
# COMMAND...: with --dir of each place.
everywhere() { for n in $(seq "$places"); do "$staging" "$@" --dir "$root/$n"; done; }

for line in "${rotations[@]}"; do
    wanted=$#
    for word in "$@"; do [[ $line != *"$word"* ]] || wanted=0; done
    [ "$wanted" = 0 ] || continue
    line=${line//OLDKEYS/$root/old-keys.yml}
    line=${line//NEWKEYS/$root/new-keys.yml}
    line=${line//NEXT/$gpg_next}
    line=${line//NEW/$root/new.yml}
    line=${line//BOTH/$root/both.yml}
    line=${line//KEY/$root/new-key.txt}
    IFS='|' read -r rotation finish <<<"$line"
    read -ra rotation_words <<<"$rotation"
    read -ra finish_words <<<"$finish"
    state=first
    if [[ $rotation == *kind=gpg* ]]; then
        state=with-gpg
        run_everywhere "$root/with-gpg.yml" -e "key=$gpg_old"
        [ "$kind" != sandbox ] || everywhere snapshot --name "$state"
    fi
    rehearse "$state" "${rotation_words[@]}" ${finish:+--finish "${finish_words[*]}"}
    if [ "$kind" = sandbox ]; then everywhere restore --name "$state"; else raise 1; fi
    # Its end alone is for the faults.
    [ "$kind" = sandbox ] || continue
    if [ -n "$finish" ]; then
        run_everywhere "${rotation_words[@]}"
        everywhere snapshot --name rotated
        rehearse rotated "${rotation_words[@]}" "${finish_words[@]}"
    fi
    everywhere restore --name first
done

printf '\n'
printf '%s\n' "${table[@]}"
printf '%d of %d cases well, ' "$all_well" "$all_tried"
printf '%d s in all%s\n' $((SECONDS - began)) "${SAMPLE:+, seed $seed}"
exit "$failed"
