//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    seqn_play::cli::main(std::env::args_os().collect())
}
