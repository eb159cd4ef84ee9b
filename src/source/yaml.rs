//! YAML text → [`Node`](super::Node), with PyYAML's resolver.
