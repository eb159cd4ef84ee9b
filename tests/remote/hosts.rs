//! The one suite, on every transport and every shell.

use seqn_play::remote::{Connections, TransportKind};

use crate::fixture::{Sh, Sshd, find, here, here_on_every_shell, skip, within};
use crate::suite;

fn over_ssh(transport: TransportKind, sh: Sh) {
    if transport == TransportKind::Ssh && find("ssh").is_none() {
        return skip("there is no ssh on this machine");
    }
    let Some(sshd) = Sshd::start(sh) else { return };
    within(120, async {
        let connections = Connections::new();
        let target = connections.target("host", &sshd.connection(transport)).await.unwrap();
        suite::all(&connections, &target, sh.name()).await;
        connections.close().await;
    });
}

#[test]
fn ssh_on_dash() {
    over_ssh(TransportKind::Ssh, Sh::Dash);
}

#[test]
fn ssh_on_bash() {
    over_ssh(TransportKind::Ssh, Sh::Bash);
}

#[test]
fn ssh_on_busybox() {
    over_ssh(TransportKind::Ssh, Sh::Busybox);
}

#[test]
fn ssh_on_mksh() {
    over_ssh(TransportKind::Ssh, Sh::Mksh);
}

#[test]
fn native_on_dash() {
    over_ssh(TransportKind::Native, Sh::Dash);
}

#[test]
fn native_on_bash() {
    over_ssh(TransportKind::Native, Sh::Bash);
}

#[test]
fn native_on_busybox() {
    over_ssh(TransportKind::Native, Sh::Busybox);
}

#[test]
fn native_on_mksh() {
    over_ssh(TransportKind::Native, Sh::Mksh);
}

/// The shell of the local transport is the first `sh` in our own PATH.
#[test]
fn local_on_every_shell() {
    if let Ok(sh) = std::env::var("SH_OF_THIS_TEST") {
        return local(&sh);
    }
    here_on_every_shell("hosts::local_on_every_shell");
}

fn local(sh: &str) {
    within(120, async {
        let connections = Connections::new();
        let target = connections.target("host", &here()).await.unwrap();
        suite::all(&connections, &target, sh).await;
        connections.close().await;
    });
}
