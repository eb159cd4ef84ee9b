# What an effect leaves in the lock's folder: empty folders whose names say it. `mkdir` is whole at
# once and never follows a link, and who asks needs no right to read.
e_began() { # mark lock next
  e_pid=$$ e_group=- e_start=- e_boot=-
  read -r e_boot 2>/dev/null </proc/sys/kernel/random/boot_id || e_boot=-
  if read -r e_line 2>/dev/null </proc/self/stat; then
    e_pid=${e_line%% *}
    set -- "$1" "$2" "$3" ${e_line##*) }
    e_group=$6 e_start=${23}
  fi
  for e_old in "$1".began.* "$1".ended.*; do
    if [ -d "$e_old" ]; then
      echo "an effect of this id was applied before" >&2
      return 1
    fi
  done
  mkdir -- "$1.began.$e_pid.$e_group.$e_start.$e_boot" || return 1
  # After the mark: who takes the lock over, or fences this effect off, either sees it or was here before.
  e_why=
  if [ ! -f "$2" ] || [ -e "$3" ] || [ -h "$3" ]; then
    e_why="the lock of this run was taken over by another"
  elif [ -d "$1.fenced" ]; then
    e_why="it came too late: the run has gone on without it"
  fi
  if [ -n "$e_why" ]; then
    mkdir -- "$1.ended.-"
    echo "$e_why" >&2
    return 1
  fi
}

e_ended() { # mark status
  [ -d "$1.ended.$2" ] || mkdir -- "$1.ended.$2"
}
