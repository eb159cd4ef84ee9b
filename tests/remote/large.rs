//! Large files pass in constant memory.

use std::io::{Read, Write};
use std::time::Instant;

use seqn_play::remote::{Connections, Content, Effect, TransportKind};

use crate::fixture::{Sh, Sshd, find, in_a_process, skip, within};
use crate::suite::write;

/// 64 MiB, or as many as SEQN_LARGE says (1024 for the 1 GiB that is promised).
fn megabytes() -> u64 {
    std::env::var("SEQN_LARGE").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
}

#[test]
fn large_files_over_native() {
    alone("large::large_files_over_native", TransportKind::Native);
}

#[test]
fn large_files_over_ssh() {
    match find("ssh") {
        Some(_) => alone("large::large_files_over_ssh", TransportKind::Ssh),
        None => skip("there is no ssh on this machine"),
    }
}

/// The most memory that this process had so far, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// In a process of its own, whose memory is measured.
fn alone(test: &str, transport: TransportKind) {
    const ALONE: &str = "ALONE";
    match std::env::var_os(ALONE) {
        Some(_) => there_and_back(transport),
        None => drop(in_a_process(test, &[(ALONE, "1")])),
    }
}

fn there_and_back(transport: TransportKind) {
    let Some(sshd) = Sshd::start(Sh::Dash) else { return };
    let size = megabytes() << 20;
    let here = sshd.dir.path().join("here");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&here).unwrap());
    let block: Vec<u8> = (0..1u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for n in 0..megabytes() {
        file.write_all(&n.to_be_bytes()).unwrap();
        file.write_all(&block[8..]).unwrap();
    }
    drop(file);
    within(600, async {
        let connections = Connections::new();
        let target = connections.target("host", &sshd.connection(transport)).await.unwrap();
        target.stat("/").await.unwrap();
        let before = peak();
        let there = sshd.dir.path().join("there");
        let began = Instant::now();
        target.apply(&write(&there, Content::Operator { path: here.clone(), size })).await.unwrap();
        let up = began.elapsed();
        let back = sshd.dir.path().join("back");
        let began = Instant::now();
        let fetch = Effect::Fetch { from: there.to_str().unwrap().into(), to: back.clone() };
        target.apply(&fetch).await.unwrap();
        let down = began.elapsed();
        let grown = peak() - before;
        let mut said = std::io::stderr();
        writeln!(said, "{size} bytes: {up:.1?} up, {down:.1?} down, {grown} KiB more memory").unwrap();
        assert!(grown < 24 << 10, "{grown} KiB more memory for {} MiB", megabytes());
        assert!(same(&here, &there) && same(&here, &back));
        connections.close().await;
    });
}

fn same(one: &std::path::Path, other: &std::path::Path) -> bool {
    let mut one = std::fs::File::open(one).unwrap();
    let mut other = std::fs::File::open(other).unwrap();
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let n = one.read(&mut a).unwrap();
        if n == 0 {
            return other.read(&mut b).unwrap() == 0;
        }
        if other.read_exact(&mut b[..n]).is_err() || a[..n] != b[..n] {
            return false;
        }
    }
}
