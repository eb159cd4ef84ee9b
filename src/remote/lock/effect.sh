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
  for e_old in "$1".*; do
    if [ -d "$e_old" ]; then
      echo "an effect of this id was applied before" >&2
      return 1
    fi
  done
  mkdir -- "$1.began.$e_pid.$e_group.$e_start.$e_boot" || return 1
  # After the mark: who takes the lock over either sees it or was here before.
  if [ ! -f "$2" ] || [ -e "$3" ] || [ -h "$3" ]; then
    mkdir -- "$1.ended.-"
    echo "the lock of this run was taken over by another" >&2
    return 1
  fi
}

e_ended() { # mark status
  [ -d "$1.ended.$2" ] || mkdir -- "$1.ended.$2"
}
