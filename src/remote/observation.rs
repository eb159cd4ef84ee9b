//! What can be asked of a host. Observing writes nothing.

use std::sync::Arc;

use super::Command;

/// A question to a host, as data, so that an equal one in flight is asked once and a stable answer
/// is remembered until an [`Effect`](super::Effect) whose footprint covers it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Observation {
    /// What is at `path`; `follow` looks through a symbolic link.
    Stat { path: String, follow: bool, checksum: Option<Checksum> },
    /// What is at `path` (following links) with its content, in one round trip. A file larger than
    /// `max` bytes is an error.
    Read { path: String, max: u64 },
    /// The entries below `path`, depth 1 or all.
    List { path: String, recurse: bool },
    /// A command that only looks. Stable: remembered until something it could see has changed.
    Query(Command),
    /// A command whose answer changes by itself (health, time, processes): never remembered.
    Probe(Command),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksum {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Debug, Clone)]
pub enum Answer {
    /// `None`: nothing is there.
    Stat(Option<Arc<Stat>>),
    Read(Arc<FileRead>),
    List(Arc<Vec<Stat>>),
    Output(Arc<super::Output>),
}

/// A file that was read. `stat` is `None` where nothing is.
#[derive(Debug, Clone, Default)]
pub struct FileRead {
    pub stat: Option<Stat>,
    pub content: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileKind {
    #[default]
    File,
    Directory,
    Link,
    Fifo,
    Socket,
    Block,
    Char,
}

/// As `stat(2)`; names as far as the host can tell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stat {
    pub path: String,
    pub kind: FileKind,
    /// Permission bits, 0o7777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Empty where the id has no name.
    pub owner: String,
    pub group: String,
    pub size: u64,
    /// Seconds since the epoch.
    pub atime: f64,
    pub mtime: f64,
    pub ctime: f64,
    pub inode: u64,
    pub device: u64,
    pub links: u64,
    /// What a symbolic link says, and where it leads in the end (absolute; empty when broken).
    pub link_text: String,
    pub link_target: String,
    /// Lower-case hex, when asked for and readable.
    pub checksum: Option<String>,
    /// For the user that asks.
    pub readable: bool,
    pub writable: bool,
    pub executable: bool,
}
