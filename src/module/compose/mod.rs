//! What Docker Compose says, read: its version, its containers, its progress.

pub mod containers;
pub mod progress;
pub mod version;

pub use containers::Container;
pub use progress::Progress;
pub use version::Version;

/// What Compose takes for a project's file where none is named, in its order.
pub const DEFAULT_FILES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
