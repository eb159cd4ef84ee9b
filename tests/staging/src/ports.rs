//! Free ports on 127.0.0.1.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::place::{cache_dir, lock_file, make_dir};
use crate::secrets::random;

/// Below the range from which the kernel gives ports to outgoing connections: one of those must
/// not sit on our port in the moment in which a container is recreated.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Ports that nobody listens on. Other `up`s keep off them while this lives.
pub struct Ports {
    ports: Vec<u16>,
    locks: Vec<(File, PathBuf)>,
}

impl Drop for Ports {
    fn drop(&mut self) {
        // By now something listens on the ports, which says more than a lock.
        for (_held, path) in self.locks.drain(..) {
            let _ = fs::remove_file(path);
        }
    }
}

impl Ports {
    pub fn take(count: usize) -> Result<Ports> {
        let dir = cache_dir()?.join("ports");
        make_dir(&dir, 0o700)?;
        let mut taken = Ports { ports: Vec::new(), locks: Vec::new() };
        for _ in 0..1000 {
            if taken.ports.len() == count {
                return Ok(taken);
            }
            let port = FIRST + draw()? % COUNT;
            let path = dir.join(port.to_string());
            let lock = lock_file(&path)?;
            if lock.try_lock().is_ok()
                && !taken.ports.contains(&port)
                && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            {
                taken.ports.push(port);
                taken.locks.push((lock, path));
            }
        }
        bail!("no free ports on 127.0.0.1 between {FIRST} and {}", FIRST + COUNT)
    }

    pub fn next(&mut self) -> Result<u16> {
        match self.ports.pop() {
            Some(port) => Ok(port),
            None => bail!("more ports used than taken"),
        }
    }
}

fn draw() -> Result<u16> {
    let letters = random(4)?;
    Ok(letters.bytes().fold(0u16, |sum, byte| sum.wrapping_mul(61).wrapping_add(u16::from(byte))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_takers_never_share_a_port() {
        let mut one = Ports::take(20).unwrap();
        let mut two = Ports::take(20).unwrap();
        let first: Vec<u16> = (0..20).map(|_| one.next().unwrap()).collect();
        for _ in 0..20 {
            assert!(!first.contains(&two.next().unwrap()));
        }
        assert!(one.next().is_err());
    }
}
