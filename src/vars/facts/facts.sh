# Prints what facts are made of: a line "@name" begins a section, every line of content begins
# with a space, "@end" is last. POSIX only; reads, never writes. $want and $fact_path are set above.

has() { command -v "$1" >/dev/null 2>&1; }
wants() { case $want in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
begin() { echo "@$1"; }
put() { begin "$1"; sed 's/^/ /'; echo; }
file() { if [ -r "$1" ] && [ -f "$1" ]; then put "file $1" <"$1"; fi; }
there() { for f do if [ -e "$f" ]; then echo " $f"; fi; done; }
# The first line of each file that can be read, as "name value".
lines() {
    for f do
        if [ -r "$f" ] && { read -r v <"$f" || [ -n "$v" ]; } 2>/dev/null; then echo " ${f##*/} $v"; fi
        v=
    done
}

if wants env; then
    # Values can hold newlines; where env can't end them with NUL, such a value is cut.
    if env -0 >/dev/null 2>&1; then env -0 | tr '\000' '\001' | put environ
    else env | put environ; fi
fi
LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export LC_ALL PATH

if wants platform; then
    { uname -s; uname -r; uname -v; uname -m; uname -n; } | put uname
    begin bits; echo " $(getconf LONG_BIT 2>/dev/null)"
    node=$(uname -n)
    if has getent; then
        address=$(getent ahosts "$node" 2>/dev/null | sed -n '1s/[[:space:]].*//p')
        if [ -n "$address" ]; then getent hosts "$address" 2>/dev/null | put names; fi
    elif has hostname; then
        hostname -f 2>/dev/null | sed 's/^/- /' | put names
    fi
    file /var/lib/dbus/machine-id
    file /etc/machine-id
fi

if wants python; then
    for p in python3 python; do
        if has "$p"; then
            begin python; echo " $(command -v "$p")"; "$p" -V 2>&1 | sed 's/^/ /'
            break
        fi
    done
fi

if wants distribution; then
    begin present
    there /etc/vmware-release /etc/arch-release
    for f in /etc/os-release /usr/lib/os-release /etc/lsb-release /etc/altlinux-release \
        /etc/oracle-release /etc/slackware-version /etc/centos-release /etc/redhat-release \
        /etc/openwrt_release /etc/system-release /etc/alpine-release /etc/SuSE-release \
        /etc/gentoo-release /etc/debian_version; do
        file "$f"
    done
fi

if wants date_time; then
    {
        date '+%Y %m %d %H %M %S %A %w %W %s'
        date '+%Z %z'
        date -u '+%Y-%m-%dT%H:%M:%S'
        date '+%N' 2>/dev/null || echo 0
        date -d '2024-01-01 12:00:00' '+%Z %z' 2>/dev/null
        date -d '2024-07-01 12:00:00' '+%Z %z' 2>/dev/null
    } | put date
fi

if wants user; then
    me=$(id -un)
    { echo "$me"; id -u; id -g; id -ru; id -rg; } 2>/dev/null | put id
    if has getent; then getent passwd "$me" | put passwd
    else sed -n "/^$me:/p" /etc/passwd 2>/dev/null | put passwd; fi
fi

if wants cmdline; then file /proc/cmdline; fi
if wants dns; then file /etc/resolv.conf; fi
if wants fips; then begin fips; lines /proc/sys/crypto/fips_enabled; fi
if wants loadavg; then file /proc/loadavg; fi
if wants apparmor; then begin apparmor; there /sys/kernel/security/apparmor; fi
if wants caps && has capsh; then capsh --print 2>/dev/null | put caps; fi

if wants selinux; then
    begin selinux; lines /sys/fs/selinux/enforce /sys/fs/selinux/policyvers
    file /etc/selinux/config
fi

if wants ssh_pub_keys; then
    for kind in dsa rsa ecdsa ed25519; do
        for dir in /etc/ssh /etc/openssh /etc; do
            if [ -r "$dir/ssh_host_${kind}_key.pub" ]; then
                put "hostkey $kind" <"$dir/ssh_host_${kind}_key.pub"
                break
            fi
        done
    done
fi

if wants lsb; then
    if has lsb_release; then lsb_release -a 2>/dev/null | put lsb; fi
    if ! wants distribution; then file /etc/lsb-release; fi
fi

if wants pkg_mgr; then
    begin pkg_mgrs
    there /usr/bin/rpm-ostree /usr/bin/yum /usr/bin/dnf-3 /usr/bin/dnf5 /usr/bin/dnf /usr/bin/microdnf /usr/bin/apt-get \
        /usr/bin/zypper /usr/sbin/urpmi /usr/bin/pacman /bin/opkg /usr/pkg/bin/pkgin /sbin/apk \
        /usr/sbin/pkg /usr/bin/emerge /usr/bin/xbps-install /usr/local/sbin/pkg /usr/bin/swupd \
        /usr/bin/rpm /run/ostree-booted
    for f in /usr/bin/microdnf /usr/bin/dnf; do
        if [ -L "$f" ]; then echo " link $f $(readlink "$f")"; fi
    done
fi

if wants service_mgr; then
    begin init; lines /proc/1/comm
    if [ -L /sbin/init ]; then echo " init_link $(readlink /sbin/init)"; fi
    for tool in systemctl initctl; do if has "$tool"; then echo " has $tool"; fi; done
    there /run/systemd/system/ /dev/.run/systemd/ /dev/.systemd/ /etc/init/ /sbin/openrc /etc/init.d/ /etc/dinit.d/
fi

if wants chroot; then
    { echo "${debian_chroot-}"; stat -c '%d %i' / /proc/1/root/. 2>/dev/null; } | put chroot
    { stat -c %i /; stat -f -c %T /; } 2>/dev/null | put root
fi

if wants local; then
    begin facts_d
    for f in "$fact_path"/*.fact; do
        name=${f##*/}
        name=${name%.fact}
        if [ ! -e "$f" ]; then
            if [ -L "$f" ]; then begin "local gone $name"; echo " $f"; fi
            continue
        fi
        if [ -x "$f" ]; then
            out=$("$f" </dev/null 2>&1)
            begin "local $? $name"
            echo "$out" | sed 's/^/ /'
            echo
        else
            put "local - $name" <"$f"
        fi
    done
fi

if wants hardware; then
    file /proc/cpuinfo
    file /proc/meminfo
    file /proc/uptime
    begin nproc; if has nproc; then echo " $(nproc)"; fi
    begin xen; there /proc/xen; lines /sys/hypervisor/type
    begin dmi
    for f in bios_date bios_vendor bios_version board_asset_tag board_name board_serial board_vendor \
        board_version chassis_asset_tag chassis_serial chassis_type chassis_vendor chassis_version \
        product_name product_serial product_uuid product_version sys_vendor; do
        lines "/sys/devices/virtual/dmi/id/$f"
    done
    mtab=/etc/mtab
    if [ ! -e "$mtab" ]; then mtab=/proc/mounts; fi
    file "$mtab"
    bound=
    if has timeout; then bound='timeout 5'; fi
    begin statfs
    # A dead network mount must not hang the rest.
    sed -n 's/^\([^ ]*\) \([^ ]*\) .*/\1 \2/p' "$mtab" 2>/dev/null | while read -r device escaped; do
        case $device in /* | *:/*) ;; *) continue ;; esac
        # Spaces and the like are written as octal escapes.
        mount=$(printf '%b' "$(echo "$escaped" | sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g')")
        if sizes=$($bound stat -f -c '%s %S %b %a %c %d' "$mount" 2>/dev/null </dev/null); then
            echo " $escaped $sizes"
        fi
    done
    if has lsblk; then lsblk -ln --paths --output NAME,UUID 2>/dev/null | put uuids; fi
    if has findmnt; then findmnt --list --noheadings --notruncate --output TARGET,SOURCE 2>/dev/null | put findmnt; fi
fi

if wants virtual; then
    begin virt
    there /proc/vz /proc/lve /proc/bc /.dockerenv /.dockerinit /proc/xen /dev/kvm
    lines /run/systemd/container
    for f in product_name sys_vendor product_family bios_vendor; do
        lines "/sys/devices/virtual/dmi/id/$f"
    done
    file /proc/1/cgroup
    { tr '\000' '\n' </proc/1/environ; } 2>/dev/null | sed -n '/container=/p' | put container
    sed -n '/control_d/p' /proc/xen/capabilities 2>/dev/null | put xen_host
    sed -n '/^VxID:/p' /proc/self/status 2>/dev/null | put vserver
    sed -n -e 's/^\(kvm\) .*/\1/p' -e 's/^\(vboxdrv\) .*/\1/p' -e 's/^\(virtio\) .*/\1/p' /proc/modules 2>/dev/null | put modules
    if ! wants hardware; then file /proc/cpuinfo; fi
fi

if wants network; then
    for dir in /sys/class/net/*; do
        if [ ! -d "$dir" ]; then continue; fi
        begin "net ${dir##*/}"
        lines "$dir/address" "$dir/mtu" "$dir/operstate" "$dir/type" "$dir/speed" "$dir/flags"
        if [ -e "$dir/device" ]; then echo " pciid $(readlink "$dir/device" | sed 's,.*/,,')"; fi
        if [ -e "$dir/device/driver/module" ]; then
            echo " module $(readlink "$dir/device/driver/module" | sed 's,.*/,,')"
        fi
        if [ -d "$dir/bridge" ]; then
            echo " bridge yes"
            lines "$dir/bridge/bridge_id" "$dir/bridge/stp_state"
            for port in "$dir"/brif/*; do
                if [ -e "$port" ]; then echo " port ${port##*/}"; fi
            done
        fi
        if [ -d "$dir/bonding" ]; then
            echo " bonding yes"
            lines "$dir/bonding/slaves" "$dir/bonding/mode" "$dir/bonding/miimon" "$dir/bonding/lacp_rate" \
                "$dir/bonding/primary"
        fi
    done
    if has ip; then
        ip -4 route get 8.8.8.8 2>/dev/null | put route4
        ip -6 route get 2404:6800:400a:800::1012 2>/dev/null | put route6
        # busybox's ip knows no "primary".
        if ip addr show primary >/dev/null 2>&1; then
            ip addr show primary 2>/dev/null | put addresses
            ip addr show secondary 2>/dev/null | put secondaries
        else
            ip addr show 2>/dev/null | put addresses
        fi
        ip -4 route show table local 2>/dev/null | put local4
        ip -6 route show table local 2>/dev/null | put local6
    fi
fi

begin end
