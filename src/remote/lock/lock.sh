# Functions of the control shell, beside those of prelude.sh. Names begin with l_; what went wrong
# goes to stderr, what to do about it as its last line. Every process counts: all of this is paid
# by each run before its first task.
#
# A lock is a file `lock.N` that came whole, by `ln`; the highest N counts. It is alive while its
# time was set within its lease, and free once that time is 0. Only who makes `lock.N+1` takes it
# over, so of many only one does, and a number that was in use is never in use again: whoever
# was stopped between looking and acting finds that out by looking again.

# Seconds of a clock that nobody sets, where there is one.
l_now() {
  l_n=
  read -r l_n l_x 2>/dev/null </proc/uptime
  l_n=${l_n%%.*}
  l_steady=1
  [ -n "$l_n" ] || { l_steady=0 && l_n=$(date +%s); }
}

# Once a shell: neither changes while it runs.
l_b=-
read -r l_b 2>/dev/null </proc/sys/kernel/random/boot_id || l_b=-
l_me=$(id -u)

# Whose folders are safe: root's, our own, and those of people who can become root anyway.
l_trusted() { # uid name
  case $1 in 0 | "$l_me") return 0 ;; esac
  for l_g in $(id -Gn -- "$2" 2>/dev/null); do
    case $l_g in sudo | wheel | admin) return 0 ;; esac
  done
  return 1
}

# A folder in which everybody can make something and nobody can take away what is another's.
l_shared() { # path
  l_try=0
  while :; do
    if [ ! -e "$1" ] && [ ! -h "$1" ]; then
      l_said=$(umask 0 && mkdir -m 1777 -- "$1" 2>&1) || l_try=$((l_try + 1))
    fi
    l_k=
    l_k=$(stat -c '%f %u %U' -- "$1" 2>/dev/null)
    l_u=${l_k#* } l_k=${l_k%% *} l_o=${l_u#* } l_u=${l_u%% *}
    case $l_k in
    4*) ;;
    '')
      if [ "$l_try" -gt 3 ]; then
        printf '%s\n' "$1 can't be made: $l_said" "make it so that this user can write into it" >&2
        return 7
      fi
      continue
      ;;
    *)
      printf '%s\n' "$1 is not a folder; $l_o made it" "look at it, and remove it: sudo rm -f $1" >&2
      return 7
      ;;
    esac
    if ! l_trusted "$l_u" "$l_o"; then
      printf '%s\n' "$1 belongs to $l_o, who is neither root nor you nor an administrator" \
        "if nothing is wrong with that: sudo chown root $1" >&2
      return 7
    fi
    [ "$l_k" != 43ff ] || return 0
    [ "$l_u" != "$l_me" ] || chmod 1777 -- "$1"
    l_try=$((l_try + 1))
    if [ "$l_try" -gt 3 ]; then
      printf '%s\n' "$1 has another mode than 1777" "sudo chmod 1777 $1" >&2
      return 7
    fi
    # Its maker may be about to set it.
    [ "$l_try" = 1 ] || sleep 1
  done
}

# A folder of our own.
l_own() { # path
  [ -e "$1" ] || [ -h "$1" ] || (umask 077 && mkdir -- "$1") 2>/dev/null
  l_k=$(stat -c '%f %u' -- "$1") || return 7
  if [ "$l_k" != "41c0 $l_me" ]; then
    printf '%s\n' "$1 is not a folder of yours with mode 0700" "look at it, and remove it: sudo rm -rf $1" >&2
    return 7
  fi
}

l_highest() { # folder
  l_h=0
  for l_f in "$1"/lock.*; do
    l_i=${l_f##*.}
    case $l_i in '' | *[!0-9]* | 0* | ??????????*) continue ;; esac
    [ "$l_i" -le "$l_h" ] || l_h=$l_i
  done
}

# What there is to say of a lock, in l_s: gone, free, held, expired, restarted, alien.
l_state() { # path
  # The clock first: who renews after this look at it is alive.
  l_now
  l_t=$l_n l_s=alien l_uid=- l_o=- l_m=0
  l_k=$(LC_ALL=C stat -c '%f %u %U %Y %Z' -- "$1" 2>/dev/null) || l_k=
  if [ -z "$l_k" ]; then
    l_s=gone
    return
  fi
  set -- "$1" $l_k
  l_uid=$3 l_o=$4 l_m=$5
  case $2 in 8*) ;; *) return ;; esac
  l_w= l_v= l_lb= l_lease= l_since=
  read -r l_w l_v l_lb l_lease l_since 2>/dev/null <"$1"
  case "$l_w $l_v $l_lease" in
  'seqn-play-lock 1 '*[!0-9]*) ;;
  'seqn-play-lock 1 '?*) l_s=held ;;
  esac
  # What is left of one after a crash of the host.
  if [ "$l_s" = alien ] && [ "$l_steady" = 1 ] && [ "$6" -lt $(($(date +%s) - l_t)) ]; then
    l_s=restarted
  fi
  [ "$l_s" = held ] || return
  if [ "$l_m" = 0 ]; then
    l_s=free
  elif [ "$l_lb" != "$l_b" ]; then
    l_s=restarted
  elif [ $((l_t - l_m)) -gt "$l_lease" ]; then
    l_s=expired
  elif [ "$l_t" -lt "$l_m" ] && [ "$l_steady" = 1 ]; then
    # Renewed right after our look at the clock; or by a clock that began anew since.
    l_now
    [ "$l_n" -ge "$l_m" ] || l_s=restarted
  fi
}

# Takes the lock, or says who has it: `taken|held N STATE OWNER AGO SINCE LEASE`, the rest about the
# lock that was there before (free where there was none), then what its holder wrote. Where it was
# taken, after a line that is only the last argument: the marks of all effects.
l_take() { # folder lease break(0, 1, or nN: also N though it is alive) who(JSON in base64) run new mark
  l_stale=
  for l_f in "$1"/new.*; do [ ! -e "$l_f" ] || l_stale=1; done
  [ -z "$l_stale" ] || find "$1" -maxdepth 1 -name 'new.*' -user "$l_me" -ctime +1 -exec rm -f {} + 2>/dev/null
  l_tmp=$1/new.$6 l_mine=
  {
    (umask 022 && set -C && { echo "seqn-play-lock 1 $l_b $2 $(date +%s)" && echo "$4" | base64 -d && echo; } >"$l_tmp") &&
      l_claim "$1" "$3"
  }
  l_r=$?
  rm -f -- "$l_tmp"
  [ -n "$l_mine" ] && [ "$l_r" = 0 ] || return $l_r
  echo
  echo "$7"
  l_shared "$1/effects/$5" && l_marks "$1" '*' || {
    l_r=$?
    l_release "$1" "$l_mine"
    return $l_r
  }
}

l_tell() { # held|taken number path(of the lock that l_state looked at)
  case $l_s in
  free) echo "$1 $2 free - 0 0 0" ;;
  *)
    l_ago=$((l_t - l_m))
    [ "$l_ago" -ge 0 ] || l_ago=0
    echo "$1 $2 $l_s $l_o $l_ago ${l_since:-0} ${l_lease:-0}"
    head -c 4096 -- "$3" | tail -n +2
    ;;
  esac
}

l_claim() { # folder break(0|1|nN)
  l_tries=0
  while [ "$l_tries" -lt 20 ]; do
    l_tries=$((l_tries + 1)) l_mine=
    l_highest "$1"
    l_s=free
    [ "$l_h" = 0 ] || l_state "$1/lock.$l_h"
    case $l_s$2 in
    gone*) continue ;;
    free* | expired[1n]* | restarted[1n]* | heldn"$l_h") ;;
    alien*)
      printf '%s\n' "$1/lock.$l_h is not a lock of this program; $l_o made it" \
        "look at it, and remove it: sudo rm -f $1/lock.$l_h" >&2
      return 7
      ;;
    *)
      l_tell held "$l_h" "$1/lock.$l_h"
      return 0
      ;;
    esac
    l_old=$1/lock.$l_h
    l_k=$1/lock.$((l_h + 1)) l_mine=$((l_h + 1))
    l_now
    touch -m -d "@$l_n" -- "$l_tmp" || return 1
    l_said=$(ln -- "$l_tmp" "$l_k" 2>&1) || {
      # Another was faster, or it can't be done here at all.
      [ -e "$l_k" ] || [ -h "$l_k" ] || [ "$l_tries" -lt 5 ] || {
        printf '%s\n' "$l_said" "the folder must allow hard links" >&2
        return 7
      }
      continue
    }
    # Not within a folder that somebody's link of this name leads to.
    set -- "$1" "$2" $(stat -c '%d:%i' -- "$l_k" "$l_tmp" 2>/dev/null)
    if [ $# != 4 ] || [ "$3" != "$4" ]; then
      l_mine=
      printf '%s\n' "$l_k is not a file that was made here" "look at it, and remove it: sudo rm -f $l_k" >&2
      return 7
    fi
    l_highest "$1"
    if [ "$l_h" = "$l_mine" ]; then
      l_clean "$1" "$l_h"
      l_tell taken "$l_h" "$l_old"
      return 0
    fi
    rm -f -- "$l_k"
  done
  printf '%s\n' "the lock in $1 changes its holder all the time" "try again, or wait for it" >&2
  return 1
}

# Old locks, the oldest first; the newest of them stay for who looks right now.
l_clean() { # folder number
  l_old_ones=
  for l_f in "$1"/lock.*; do
    case ${l_f##*.} in '' | *[!0-9]* | ??????????*) continue ;; esac
    [ "${l_f##*.}" -ge $(($2 - 8)) ] || l_old_ones="$l_old_ones ${l_f##*.}"
  done
  [ -n "$l_old_ones" ] || return 0
  for l_i in $l_old_ones; do echo "$l_i"; done | sort -n |
    while read -r l_i; do rm -f -- "$1/lock.$l_i" 2>/dev/null; done
}

# Whether nobody took it over, as far as names tell, which takes no process.
l_newest() { # folder number
  [ -f "$1/lock.$2" ] && [ ! -e "$1/lock.$(($2 + 1))" ] && [ ! -h "$1/lock.$(($2 + 1))" ]
}

# Whether it is a lock of ours that nobody took over.
l_ours() { # folder number
  l_k=$(stat -c '%f %u %Y' -- "$1/lock.$2" 2>/dev/null) || return 1
  l_m=${l_k##* }
  case $l_k in 8*" $l_me "*) ;; *) return 1 ;; esac
  [ "$l_m" != 0 ] && l_newest "$1" "$2"
}

# Says `renewed`, or `lost` for good.
l_renew() { # folder number lease
  if l_ours "$1" "$2"; then
    l_old=$l_m
    l_now
    # An expired one isn't made to look alive.
    if [ $((l_n - l_old)) -le "$3" ] && touch -c -m -d "@$l_n" -- "$1/lock.$2"; then
      # By the clock after it: nobody can have found it expired before.
      l_now
      if [ $((l_n - l_old)) -le "$3" ] && l_ours "$1" "$2"; then
        echo renewed
        return
      fi
    fi
  fi
  echo lost
}

l_release() { # folder number
  if l_ours "$1" "$2"; then touch -c -m -d @0 -- "$1/lock.$2"; fi
}

# An effect that hasn't begun by now never does: it looks for this once it has left its mark.
l_fence() { # folder effect
  [ -d "$1/effects/$2.fenced" ] || mkdir -- "$1/effects/$2.fenced"
}

# Takes away what ended effects of a run left.
l_forget() ( # folder run
  cd -- "$1/effects/$2" 2>/dev/null || exit 0
  for l_f in *.ended.*; do
    [ ! -d "$l_f" ] || rmdir -- "${l_f%.ended.*}".began.* "$l_f" 2>/dev/null
  done
  # Fences stand as long as the folder does: without one nothing begins.
  for l_f in *.began.*; do [ ! -d "$l_f" ] || exit 0; done
  for l_f in *.fenced; do [ ! -d "$l_f" ] || rmdir -- "$l_f"; done
  :
)

# The same at the end of a run for good: its folder goes too, once nothing is in it.
l_forget_run() { # folder run
  l_forget "$1" "$2"
  rmdir -- "$1/effects/$2" 2>/dev/null
  :
}

# The marks of effects, one a line: `uid owner time path`; first who asks and the host's start.
l_marks() { # folder pattern
  echo "$l_me $l_b"
  cd -- "$1/effects" || return
  LC_ALL=C find . -mindepth 2 -maxdepth 2 -type d -name "$2" ! -path '*[!A-Za-z0-9._/-]*' \
    -exec stat -c '%u %U %Y %n' {} +
}
