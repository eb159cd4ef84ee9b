# Functions of the effects that keep a file and put it back; sent with them, since they are rare.

# Gives a file a second name beside it, so that its content outlives the first; a copy where the file
# system has no hard links. What whoever puts it back wants to know: `inode mtime mode`.
s_keep() { # path kept
  if [ ! -f "$1" ] || [ -h "$1" ]; then
    echo "$1 is no regular file any more" >&2
    return 1
  fi
  # Left by a program that was killed before it could write down that it is there.
  rm -f -- "$2" || return 1
  s_m=$(stat -c '%a' -- "$1") || return 1
  s_said=$(ln -- "$1" "$2" 2>&1) || {
    s_tmp=$(s_temp "$2") || return 1
    trap 'rm -f -- "$s_tmp"' EXIT
    cp -p -- "$1" "$s_tmp" && chmod 0600 "$s_tmp" && mv -f -- "$s_tmp" "$2" || {
      echo "$s_said" >&2
      return 1
    }
  }
  sync "$2" 2>/dev/null || sync
  s_is=$(stat -c '%i %Y' -- "$2") && echo "$s_is $s_m"
}

# Once it is the only name of its content, only its owner may look into it, and nobody run it.
s_close() { # kept
  [ "$(stat -c '%h' -- "$1")" != 1 ] || chmod -- 0600 "$1"
}

# Puts a kept file back. Where it is gone, the file that is there must be it.
s_restore() { # kept path inode mtime mode expectation
  s_at=$(stat -c '%i %Y' -- "$2" 2>/dev/null)
  s_is=$(stat -c '%i' -- "$1" 2>/dev/null)
  if [ -z "$s_is" ]; then
    [ "$s_at" != "$3 $4" ] || return 0
    echo "$1, which held what was in $2 before, is gone" >&2
    return 1
  fi
  if [ "$s_is" != "$3" ] || [ -h "$1" ]; then
    echo "$1 is not the file that was kept there" >&2
    return 1
  fi
  # Two names of one file: nothing has replaced it.
  if [ "${s_at%% *}" = "$3" ]; then
    rm -f -- "$1"
    return
  fi
  s_said=$(s_expect "$2" "$6" 2>&1) || {
    s_st=$?
    # Nothing has replaced it either, where the kept file is a copy.
    s_same "$1" "$2" || {
      echo "$s_said" >&2
      return $s_st
    }
  }
  if [ -h "$2" ]; then
    # To a folder it would lead into that.
    rm -f -- "$2" || return 1
  elif [ -d "$2" ]; then
    echo "$2 is a directory by now" >&2
    return 9
  fi
  chmod -- "$5" "$1" && mv -f -- "$1" "$2"
}

s_same() { # two files
  [ -f "$2" ] && s_one=$(s_hash sha256 "$1") && s_two=$(s_hash sha256 "$2") && [ "$s_one" = "$s_two" ]
}
