//! Command-line options, as strict as Docker's: what isn't known is an error.

use std::collections::VecDeque;
use std::time::Duration;

/// Long name, short name, and whether a value follows.
pub type Flag = (&'static str, Option<char>, bool);

#[derive(Debug, Default)]
pub struct Args {
    given: Vec<(&'static str, String)>,
    pub rest: Vec<String>,
}

/// Why the command line was refused, in Docker's words.
#[derive(Debug)]
pub struct Refused(pub String);

impl Args {
    /// With `stop_early` the first word that is no option ends the options.
    pub fn parse(words: &[String], flags: &[Flag], stop_early: bool) -> Result<Args, Refused> {
        let mut out = Args::default();
        let mut words: VecDeque<&str> = words.iter().map(String::as_str).collect();
        while let Some(word) = words.pop_front() {
            if word == "--" {
                out.rest.extend(words.drain(..).map(ToOwned::to_owned));
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (long, None),
                };
                let Some((name, _, takes_value)) = flags.iter().find(|flag| flag.0 == name) else {
                    return Err(Refused(format!("unknown flag: --{name}")));
                };
                let value = match (takes_value, value) {
                    (true, Some(value)) => value,
                    (true, None) => match words.pop_front() {
                        Some(value) => value,
                        None => return Err(Refused(format!("flag needs an argument: --{name}"))),
                    },
                    (false, Some(value @ ("true" | "false"))) => value,
                    (false, Some(value)) => {
                        let text = format!("invalid argument {value:?} for \"--{name}\" flag");
                        return Err(Refused(text));
                    }
                    (false, None) => "true",
                };
                out.given.push((name, value.to_owned()));
            } else if word.len() > 1 && word.starts_with('-') {
                out.short(&word[1..], flags, &mut words)?;
            } else {
                out.rest.push(word.to_owned());
                if stop_early {
                    out.rest.extend(words.drain(..).map(ToOwned::to_owned));
                }
            }
        }
        Ok(out)
    }

    fn short(&mut self, letters: &str, flags: &[Flag], words: &mut VecDeque<&str>) -> Result<(), Refused> {
        for (at, letter) in letters.char_indices() {
            let Some((name, _, takes_value)) = flags.iter().find(|flag| flag.1 == Some(letter)) else {
                let text = format!("unknown shorthand flag: {letter:?} in -{letters}");
                return Err(Refused(text));
            };
            if !takes_value {
                self.given.push((name, "true".to_owned()));
                continue;
            }
            let attached = &letters[at + letter.len_utf8()..];
            let value = match attached.strip_prefix('=').unwrap_or(attached) {
                "" => words.pop_front(),
                attached => Some(attached),
            };
            let Some(value) = value else {
                let text = format!("flag needs an argument: {letter:?} in -{letters}");
                return Err(Refused(text));
            };
            self.given.push((name, value.to_owned()));
            break;
        }
        Ok(())
    }

    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value == "true")
    }

    /// The last one given.
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut given = self.given.iter().rev();
        let found = given.find(|(flag, _)| *flag == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let given = self.given.iter().filter(move |(flag, _)| *flag == name);
        given.map(|(_, value)| value.as_str())
    }

    pub fn seconds(&self, name: &str) -> Result<Option<Duration>, Refused> {
        match self.value(name).map(str::parse) {
            None => Ok(None),
            Some(Ok(seconds)) => Ok(Some(Duration::from_secs(seconds))),
            Some(Err(_)) => Err(Refused(format!("invalid argument for \"--{name}\" flag"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 3] =
        [("all", Some('a'), false), ("user", Some('u'), true), ("no-tty", Some('T'), false)];

    fn parse(line: &str, stop_early: bool) -> Result<Args, String> {
        let words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
        Args::parse(&words, &FLAGS, stop_early).map_err(|refused| refused.0)
    }

    #[test]
    fn options_in_every_spelling() {
        for line in ["-aT -u me x", "-aTume x", "--all --no-tty --user=me x", "x -aT --user me"] {
            let args = parse(line, false).unwrap();
            assert!(args.has("all") && args.has("no-tty"), "{line}");
            assert_eq!(args.value("user"), Some("me"), "{line}");
            assert_eq!(args.rest, ["x"], "{line}");
        }
        assert!(!parse("--all=false", false).unwrap().has("all"));
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let args = parse("-T db psql --all -u x", true).unwrap();
        assert_eq!(args.rest, ["db", "psql", "--all", "-u", "x"]);
        assert!(!args.has("all"));
    }

    #[test]
    fn unknown_options_are_refused() {
        for line in ["--nope", "-x", "--user", "-u", "--all=maybe"] {
            assert!(parse(line, false).is_err(), "{line}");
        }
    }
}
