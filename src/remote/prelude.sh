# Functions for every host: POSIX sh only; sent once to each shell.
# Names begin with s_; answers go to stdout, complaints to stderr.

s_b64() { base64 | tr -d '\n'; }

# Whether `stat -c` is there (coreutils, busybox).
s_stat_line() { # path: kind mode uid gid size atime mtime ctime inode device links owner group
  stat -c '%f %u %g %s %X %Y %Z %i %d %h %U %G' -- "$1" 2>/dev/null
}

s_hash() { # algorithm path: hex
  if command -v "$1sum" >/dev/null 2>&1; then
    set -- "$("$1sum" <"$2")" && echo "${1%% *}"
  elif command -v openssl >/dev/null 2>&1; then
    set -- "$(openssl dgst "-$1" <"$2")" && echo "${1##* }"
  else
    echo "this host has neither $1sum nor openssl" >&2
    return 1
  fi
}

# One record: the stat line, access bits, link text and target, checksum; or `none`.
s_stat() { # path follow(0|1) algorithm(or -)
  s_p=$1
  if [ "$2" = 1 ]; then
    if [ ! -e "$s_p" ]; then
      s_absent "$s_p"
      return
    fi
    if [ -h "$s_p" ]; then
      # The dot keeps a newline at the name's end.
      s_p=$(readlink -f -n -- "$1" 2>/dev/null && echo .) && s_p=${s_p%.} || s_p=$1
    fi
  elif [ ! -e "$s_p" ] && [ ! -h "$s_p" ]; then
    s_absent "$s_p"
    return
  fi
  s_l=$(s_stat_line "$s_p") || {
    echo "can't stat $1" >&2
    return 1
  }
  s_a=
  [ -r "$s_p" ] && s_a=${s_a}r
  [ -w "$s_p" ] && s_a=${s_a}w
  [ -x "$s_p" ] && s_a=${s_a}x
  s_t=- s_g=-
  if [ "$2" = 0 ] && [ -h "$s_p" ]; then
    s_t=$(readlink -n -- "$s_p" | s_b64)
    s_g=$(readlink -f -n -- "$s_p" 2>/dev/null | s_b64)
    [ -e "$s_p" ] || s_g=-
  fi
  s_c=-
  if [ "$3" != - ] && [ -f "$s_p" ] && [ -r "$s_p" ]; then
    s_c=$(s_hash "$3" "$s_p") || return 1
  fi
  echo "$s_l ,$s_a ${s_t:--} ${s_g:--} $s_c"
}

# Nothing there is an answer; not being allowed to look is a failure.
s_absent() {
  s_d=${1%/*}
  [ -n "$s_d" ] || s_d=/
  if [ "$s_d" != "$1" ] && [ -d "$s_d" ] && [ ! -x "$s_d" ]; then
    echo "not allowed to look into $s_d" >&2
    return 1
  fi
  echo none
}

# The stat record, then the content.
s_read() { # path max
  s_r=$(s_stat "$1" 1 -) || return 1
  echo "$s_r"
  [ "$s_r" = none ] && return 0
  [ -f "$1" ] || return 0
  if [ ! -r "$1" ]; then
    echo "not allowed to read $1" >&2
    return 1
  fi
  s_n=${s_r#* * * } s_n=${s_n%% *}
  # Files of /proc have no size until they are read.
  [ "$s_n" != 0 ] || s_n=$(wc -c <"$1")
  if [ "$s_n" -gt "$2" ]; then
    echo "$1 has $s_n bytes, more than the $2 that can be read at once" >&2
    return 3
  fi
  cat <"$1"
}

# Each entry begins a line with the token, since a name can hold anything but that.
s_list() { # path recurse(0|1) token
  [ -d "$1" ] || {
    echo "$1 is not a directory" >&2
    return 1
  }
  case $1 in -*) s_p=./$1 ;; *) s_p=$1 ;; esac
  s_f="$3 %f %u %g %s %X %Y %Z %i %d %h %U %G ,? - - - %n"
  if [ "$2" = 1 ]; then
    find "$s_p" -mindepth 1 -exec stat -c "$s_f" {} +
  else
    find "$s_p" -mindepth 1 -maxdepth 1 -exec stat -c "$s_f" {} +
  fi
}

# Where a write to a path ends up, through symbolic links, in s_to. No path passes through echo,
# which interprets backslashes in some shells, nor loses a newline at its end.
# Not by readlink -f: busybox looks for a link's missing target in the wrong folder.
s_real() {
  s_to=$1 s_hops=0
  while [ -h "$s_to" ]; do
    s_hops=$((s_hops + 1))
    s_t=$(readlink -n -- "$s_to" && [ "$s_hops" -le 40 ] && echo .) || {
      echo "can't follow the symbolic link $1" >&2
      return 1
    }
    s_t=${s_t%.}
    case $s_t in
    /*) s_to=$s_t ;;
    *) case $s_to in */*) s_to=${s_to%/*}/$s_t ;; *) s_to=$s_t ;; esac ;;
    esac
  done
}

# A temporary file beside a path, unguessable enough and ours alone.
s_temp() {
  s_dir=${1%/*}
  [ "$s_dir" != "$1" ] || s_dir=.
  [ -n "$s_dir" ] || s_dir=/
  case $s_dir in -*) s_dir=./$s_dir ;; esac
  if [ ! -d "$s_dir" ]; then
    echo "Destination directory $s_dir does not exist" >&2
    return 1
  fi
  (umask 077 && mktemp "$s_dir/.seqn-XXXXXXXXXX")
}

s_attributes() { # path mode owner group (each or -); owner before mode: chown clears setuid
  if [ "$3" != - ]; then chown -- "$3" "$1" || return 1; fi
  if [ "$4" != - ]; then chgrp -- "$4" "$1" || return 1; fi
  if [ "$2" != - ]; then chmod -- "$2" "$1" || return 1; fi
}

# A directory and its missing parents; those made here get the attributes.
s_mkdir() { # path mode owner group
  [ ! -d "$1" ] || return 0
  case $1 in */*) s_d=${1%/*} ;; *) s_d=. ;; esac
  s_mkdir "${s_d:-/}" "$2" "$3" "$4" || return 1
  # The parent of `a/` is `a`.
  [ ! -d "$1" ] || return 0
  mkdir -- "$1" && s_attributes "$1" "$2" "$3" "$4"
}

# What a shell runs that is given its script on descriptor 3. By `read`, which takes no process.
s_given='s_p=; while IFS= read -r s_l; do s_p="$s_p$s_l
"; done <&3; eval "$s_p$s_l" 3<&- 4<&-'

# `setsid` in s_own, where the command's own PATH has it.
s_session() {
  s_own=
  if command -v setsid >/dev/null 2>&1; then s_own=setsid; fi
}

# Runs the script on descriptor 3, with descriptor 4 as its input, in a process group of its own.
s_grouped() {
  s_session
  $s_own sh -c "$s_given" <&4 3<&3 4<&-
}

# GNU's ends a whole group, with half of the processes of s_limited.
s_timeout=
if timeout --preserve-status -k 2 9 true </dev/null >/dev/null 2>&1; then s_timeout=1; fi

# Runs a script, with descriptor 4 as its input, whose group is ended after some seconds.
s_in_time() { # seconds script(s_given, or one that a process list may show)
  if [ -z "$s_timeout" ] || ! command -v timeout >/dev/null 2>&1; then
    s_limited "$1" "$2"
    return
  fi
  # Without a terminal that it could wait for.
  s_session
  $s_own timeout --preserve-status -k 2 "$1" sh -c "$2" <&4 3<&3 4<&-
}

# The same for a group that the script leads.
s_limited() { # seconds script
  s_session
  s_group=${s_own:+-}
  $s_own sh -c "$2" <&4 3<&3 4<&- &
  s_pid=$!
  $s_own sh -c 'sleep "$1"; kill -TERM "$2"; sleep 2; kill -KILL "$2"' sh "$1" "$s_group$s_pid" \
    </dev/null >/dev/null 2>&1 3<&- 4<&- &
  s_guard=$!
  wait $s_pid
  s_st=$?
  # It may not have come to its own group yet.
  kill -TERM "$s_group$s_guard" 2>/dev/null || kill -TERM "$s_guard" 2>/dev/null
  return $s_st
}

# Compare and set: status 9 where the file isn't as expected.
s_expect() { # path expectation(any|absent|SHA-256)
  case $2 in
  any) return 0 ;;
  absent)
    if [ -e "$1" ] || [ -h "$1" ]; then
      echo "$1 exists by now" >&2
      return 9
    fi
    ;;
  *)
    if [ ! -e "$1" ]; then
      echo "$1 is not there any more" >&2
      return 9
    fi
    s_now=$(s_hash sha256 "$1") || return 9
    if [ "$s_now" != "$2" ]; then
      echo "$1 was changed by somebody else" >&2
      return 9
    fi
    ;;
  esac
}

# Puts a finished temporary file in place of path: attributes first, then synced, then renamed.
s_install() { # temp path mode owner group expectation backup(0|1) [validate command]
  s_old=$2
  trap 'rm -f -- "$s_tmp"' EXIT
  s_tmp=$1
  if [ -d "$s_old" ]; then
    echo "$s_old is a directory" >&2
    return 1
  fi
  s_expect "$s_old" "$6" || return $?
  if [ -e "$s_old" ]; then
    s_m=$3 s_o=$4 s_g=$5
    s_have=$(stat -c '%a %u %g' -- "$s_old") || return 1
    [ "$s_o" != - ] || { s_o=${s_have#* } && s_o=${s_o% *}; }
    [ "$s_g" != - ] || s_g=${s_have##* }
    s_new=$(stat -c '%u %g' -- "$s_tmp")
    [ "$s_o $s_g" != "$s_new" ] || { s_o=- s_g=-; }
    s_attributes "$s_tmp" "${s_have%% *}" "$s_o" "$s_g" || return 1
    # An access control list is kept as mode and owner are; a mode that was asked for comes after it.
    if command -v getfacl >/dev/null && [ -n "$(getfacl -cps -- "$s_old" 2>/dev/null)" ]; then
      getfacl -cp -- "$s_old" | setfacl --set-file=- -- "$s_tmp" || return 1
    fi
    [ "$s_m" = - ] || chmod -- "$s_m" "$s_tmp" || return 1
  else
    # As the umask says, for a file that nobody runs.
    chmod "$(umask -S),a-x" "$s_tmp" || return 1
    s_attributes "$s_tmp" "$3" "$4" "$5" || return 1
  fi
  if [ $# -gt 7 ]; then
    s_v=$8
    s_before=${s_v%%%s*}
    s_after=${s_v#*%s}
    s_said=$(eval "$s_before\"\$s_tmp\"$s_after" 2>&1) || {
      s_vs=$?
      echo "failed to validate: rc:$s_vs error:$s_said" >&2
      return 8
    }
  fi
  if [ "$7" = 1 ] && [ -e "$s_old" ]; then
    s_bak="$s_old.$$.$(date +%Y-%m-%d@%H:%M:%S)~"
    cp -p -- "$s_old" "$s_bak" || return 1
    printf '%s\n' "$s_bak"
  fi
  sync "$s_tmp" 2>/dev/null || sync
  mv -f -- "$s_tmp" "$s_old" || return 1
}

# A folder for the output of one command: in memory where the host has such a place.
s_scratch() {
  for s_in in /dev/shm "${XDG_RUNTIME_DIR:-/tmp}" "${TMPDIR:-/tmp}" /tmp /var/tmp "$HOME"; do
    if [ -d "$s_in" ] && [ -w "$s_in" ]; then
      (umask 077 && mktemp -d "$s_in/seqn-XXXXXXXXXX") && return 0
    fi
  done
  echo "there is no place for temporary files on this host" >&2
  return 1
}
