//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    seqn_play::secret::harden_process();
    // An `ssh` that we started may call us to ask for a password.
    match seqn_play::remote::askpass::answer() {
        Some(code) => code,
        None => seqn_play::cli::main(std::env::args_os().collect()),
    }
}
