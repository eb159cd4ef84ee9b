use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use staging::fault::{self, Doing, Fault};
use staging::{KindChoice, Place, Raised, fleet};

/// The disposable staging VPS: sshd, Docker Compose, two Postgres servers, age and gpg.
#[derive(Parser)]
#[command(name = "staging", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Raise it, and print one JSON line that says how to reach it
    Up {
        /// Where its keys and files live; also what its name is made from
        #[arg(long)]
        dir: PathBuf,
        #[arg(long, value_enum, default_value_t = KindChoice::Auto)]
        kind: KindChoice,
        /// Raise so many, in DIR/vps1 and so on, and write DIR/inventory; one JSON line for each
        #[arg(long, value_name = "N")]
        fleet: Option<usize>,
    },
    /// Remove everything that `up` made there, also after an `up` that was killed
    Down {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Print the JSON line of the one raised there
    Info {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Let something happen to it, or make that good; both may be said twice
    Fault {
        #[arg(value_enum)]
        fault: Fault,
        #[arg(value_enum)]
        doing: Doing,
        #[arg(long)]
        dir: PathBuf,
    },
    /// Tell a service to misbehave (CONTRACTS.md says how); without rules, to behave again
    Misbehave {
        #[arg(long)]
        dir: PathBuf,
        service: String,
        #[arg(value_name = "RULE")]
        rules: Vec<String>,
    },
    /// Keep the state of a sandbox under a name
    Snapshot {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Bring a sandbox back to a state that was kept, whatever became of it since
    Restore {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Print the path of Compose v2, which is fetched from Debian where it is not there yet
    Compose,
    /// Remove the cached images and files that the next `up` would reuse
    Clean {
        /// The Debian base image too, which takes longest to make
        #[arg(long)]
        all: bool,
        /// Only list what would be removed
        #[arg(long)]
        list: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            staging::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Up { dir, kind, fleet: Some(count) } => {
            fleet::up(&dir, kind, count)?.iter().try_for_each(print)
        }
        Command::Up { dir, kind, fleet: None } => {
            fleet::down(&dir)?;
            print(&staging::up(&Place::new(&dir)?, kind)?)
        }
        Command::Down { dir } => match fleet::places(&dir)? {
            Some(_) => fleet::down(&dir),
            None => staging::down(&Place::new(&dir)?),
        },
        Command::Info { dir } => match fleet::places(&dir)? {
            Some(places) => places.iter().try_for_each(|place| print(&Raised::load(place)?)),
            None => print(&Raised::load(&Place::new(&dir)?)?),
        },
        Command::Misbehave { dir, service, rules } => {
            staging::misbehave(&Place::new(&dir)?, &service, &rules)
        }
        Command::Fault { fault, doing, dir } => fault::act(&Place::new(&dir)?, fault, doing),
        Command::Snapshot { dir, name } => staging::sandbox::snapshot::take(&Place::new(&dir)?, &name),
        Command::Restore { dir, name } => staging::sandbox::snapshot::restore(&Place::new(&dir)?, &name),
        Command::Compose => {
            writeln!(io::stdout(), "{}", staging::docker::compose()?.file.display())?;
            Ok(())
        }
        Command::Clean { all, list } => {
            let mut lines = staging::docker::clean(all, list)?;
            lines.extend(staging::sandbox::clean(list)?);
            for line in lines {
                writeln!(io::stdout(), "{line}")?;
            }
            Ok(())
        }
    }
}

fn print(raised: &Raised) -> Result<()> {
    writeln!(io::stdout(), "{}", serde_json::to_string(raised)?)?;
    Ok(())
}
