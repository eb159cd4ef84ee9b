# Whether what left the mark still runs: its whole group where it has one of its own. Not being
# allowed to signal it says that it is there.
l_alive() { # pid group start boot
  l_b=-
  read -r l_b 2>/dev/null </proc/sys/kernel/random/boot_id || l_b=-
  [ "$4" = "$l_b" ] || return 1
  l_who=$1
  [ "$1" != "$2" ] || l_who=-$1
  l_said=$(LC_ALL=C && export LC_ALL && kill -0 "$l_who" 2>&1) || case $l_said in
  *ermitted*) ;;
  *) return 1 ;;
  esac
  read -r l_said 2>/dev/null <"/proc/$1/stat" || {
    # A host that hides the processes of others says no more than that.
    read -r l_said 2>/dev/null </proc/1/stat || return 0
    [ "$1" = "$2" ] && l_members "$1"
    return
  }
  l_pid=$1 l_group=$2 l_start=$3
  set -- ${l_said##*) }
  # Another process may have the number by now.
  [ "$l_start" = "${20}" ] || [ "$l_start" = - ] || return 1
  # Nobody may have asked for its end yet; its children can still run.
  case $1 in Z | X) [ "$l_pid" = "$l_group" ] && l_members "$l_pid" ;; esac
}

# Whether a group has a member that runs.
l_members() { # group
  for l_f in /proc/[0-9]*/stat; do
    read -r l_said 2>/dev/null <"$l_f" || continue
    set -- "$1" ${l_said##*) }
    case $2 in Z | X) continue ;; esac
    [ "$4" != "$1" ] || return 0
  done
  return 1
}

l_signal() { # signal pid group start boot
  l_alive "$2" "$3" "$4" "$5" || return 0
  [ "$2" = "$3" ] && set -- "$1" "-$2" || set -- "$1" "$2"
  LC_ALL=C kill "-$1" "$2"
}
