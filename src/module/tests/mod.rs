//! Modules on a real file system, a real `sh` and real sockets.

mod bench;
mod commands;
mod files;
mod network;
mod rotation;
