//! `seqn-play lint`.

use clap::Parser;

use super::Command;

#[derive(Debug, Parser)]
pub struct Lint {}

impl Command for Lint {
    fn run(self) -> u8 {
        1
    }
}
