# Makes the users of this VPS from /machine, then becomes sshd.
# Needs: SSH_PORT, OPS_UID, DOCKER_GID, PROJECT_DIR.
set -eu

if ! id ops >/dev/null 2>&1; then
    getent group "$DOCKER_GID" >/dev/null || groupadd --gid "$DOCKER_GID" docker-engine
    useradd --create-home --shell /bin/bash --uid "$OPS_UID" --groups "$DOCKER_GID" ops
    # '*': no password, and not locked either, which sshd without PAM would refuse.
    useradd --create-home --shell /bin/bash --groups "$DOCKER_GID" --password '*' ops-nopasswd
    chpasswd --crypt-method SHA512 </machine/passwords
    printf '%s\n' 'ops ALL=(ALL:ALL) ALL' 'ops-nopasswd ALL=(ALL:ALL) NOPASSWD: ALL' \
        >/etc/sudoers.d/ops
    chmod 0440 /etc/sudoers.d/ops
    install -m 0600 /machine/ssh_host_ed25519_key /etc/ssh/ssh_host_ed25519_key
    install -m 0644 /machine/authorized_keys /etc/ssh/authorized_keys
    chown -R ops:ops "$PROJECT_DIR"
    mkdir -p /run/sshd
fi

exec /usr/sbin/sshd -D -e -p "$SSH_PORT"
