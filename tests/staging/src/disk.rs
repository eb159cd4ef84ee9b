//! The disk of a VPS: a small file system of its own where that is possible, so that it can be full
//! without the machine's being full.

use std::ffi::CString;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::place::Place;
use crate::system::run;

/// In memory, which it takes only as far as it is used. A rotation asks for less room than that.
const SIZE: &str = "2g";

/// Makes it one of its own. An error says why that can't be.
pub fn mount(place: &Place) -> Result<()> {
    let options = format!("size={SIZE},mode=755");
    run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, place.name()]).arg(place.disk())).map(drop)
}

pub fn is_mounted(place: &Place) -> bool {
    let disk = place.disk();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().filter_map(|line| line.split(' ').nth(1)).any(|at| Path::new(at) == disk)
}

/// Also what a killed `up` mounted. Whoever is still in it keeps it until he ends.
pub fn unmount(place: &Place) -> Result<()> {
    while is_mounted(place) {
        run(Command::new("umount").arg("--lazy").arg(place.disk()))?;
    }
    Ok(())
}

/// Makes it as small as what is on it.
pub fn fill(place: &Place) -> Result<()> {
    for _ in 0..100 {
        // Refused where somebody wrote in between.
        if resize(place, &used(&place.disk())?.to_string()).is_ok() {
            return Ok(());
        }
    }
    bail!("{} can't be filled as fast as others write there", place.disk().display())
}

pub fn free(place: &Place) -> Result<()> {
    resize(place, SIZE)
}

fn resize(place: &Place, size: &str) -> Result<()> {
    run(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(place.disk())).map(drop)
}

/// Bytes.
fn used(dir: &Path) -> Result<u64> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    let mut told = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: a path that ends with NUL, and room for the answer.
    let told = match unsafe { libc::statvfs(path.as_ptr(), told.as_mut_ptr()) } {
        // SAFETY: it answered.
        0 => unsafe { told.assume_init() },
        _ => {
            return Err(std::io::Error::last_os_error())
                .with_context(|| format!("no disk at {}", dir.display()));
        }
    };
    Ok((told.f_blocks - told.f_bfree) * told.f_frsize)
}
