//! A disk of a VPS that can be filled.

use std::path::Path;
use std::process::Command;

/// What a rotation asks for before its backups, and more.
const SIZE: &str = "2g";

/// A file system in memory, unmounted and removed with it.
pub struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where nobody may mount one.
    pub fn mount() -> Option<Disk> {
        let at = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={SIZE},mode=755"), "seqn-matrix"])
            .arg(at.path())
            .output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Disk(at))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Makes it as small as what is on it. Whoever writes at the same time makes it more.
    pub fn fill(&self) -> String {
        let at = self.path().display();
        format!(
            "until u=$(df -Pk {at} | awk 'END {{ print $3 }}') && mount -o remount,size=${{u}}k {at} 2>/dev/null; do :; done"
        )
    }

    pub fn free(&self) {
        let at = self.path();
        let status = Command::new("mount")
            .args(["-o", &format!("remount,size={SIZE}")])
            .arg(at)
            .status()
            .expect("mount runs");
        assert!(status.success(), "{} can't be made larger again", at.display());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever is still in it keeps it until he ends.
        Command::new("umount").arg("-l").arg(self.path()).status().ok();
    }
}
