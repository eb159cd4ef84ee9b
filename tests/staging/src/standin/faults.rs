//! Misbehaviour on demand: rules in a file that is read at each request, so that it can be changed
//! without touching the service, and outlives a container that is made anew.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Mounted into every service.
const DIR: &str = "/faults";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers after so long.
    Slow(Duration),
    /// Answers that and does nothing.
    Status(u16),
    /// Does it, then answers that.
    StatusAfter(u16),
    /// Closes the connection and does nothing.
    Refuse,
    /// Does it and closes the connection.
    Drop,
    /// Does it, sends half of the answer and closes the connection.
    Half,
    /// Says what isn't so; what that is, the service knows.
    Disagree,
}

struct Rule {
    method: String,
    path: String,
    fault: Fault,
    times: Option<u32>,
}

/// What every service is told, before what is said to it alone.
const ALL: &str = "all";

pub struct Faults([Rules; 2]);

impl Faults {
    pub fn of(service: &str) -> Faults {
        Faults([ALL, service].map(|name| Rules::in_file(crate::mounted(&format!("{DIR}/{name}")))))
    }

    /// The first that fits. An error says what isn't understood.
    pub fn of_request(&self, method: &str, path: &str) -> Result<Option<Fault>, String> {
        for rules in &self.0 {
            if let Some(fault) = rules.of_request(method, path)? {
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }
}

struct Rules {
    file: PathBuf,
    /// How often each line was used since the file was last changed.
    used: Mutex<(Option<SystemTime>, HashMap<usize, u32>)>,
}

impl Rules {
    fn in_file(file: impl AsRef<Path>) -> Rules {
        Rules { file: file.as_ref().to_path_buf(), used: Mutex::default() }
    }

    fn of_request(&self, method: &str, path: &str) -> Result<Option<Fault>, String> {
        let Ok(text) = std::fs::read_to_string(&self.file) else {
            return Ok(None);
        };
        let changed = std::fs::metadata(&self.file).and_then(|found| found.modified()).ok();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.0 != changed {
            *used = (changed, HashMap::new());
        }
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let rule = Rule::parse(line).ok_or_else(|| format!("faults, line {}: {line:?}", number + 1))?;
            let count = used.1.entry(number).or_default();
            if rule.fits(method, path) && rule.times.is_none_or(|times| *count < times) {
                *count += 1;
                return Ok(Some(rule.fault));
            }
        }
        Ok(None)
    }
}

impl Rule {
    fn parse(line: &str) -> Option<Rule> {
        let mut words = line.split_whitespace();
        let (method, path, what) = (words.next()?, words.next()?, words.next()?);
        let times = match words.next() {
            Some(word) => Some(word.strip_prefix("times=")?.parse().ok()?),
            None => None,
        };
        if words.next().is_some() || !(path == "*" || path.starts_with('/')) {
            return None;
        }
        let status = |text: &str| text.parse().ok().filter(|code| (200..600).contains(code));
        let fault = match what.split_once('=') {
            Some(("slow", time)) => Fault::Slow(Duration::from_millis(time.parse().ok()?)),
            Some(("status", code)) => Fault::Status(status(code)?),
            Some(("status-after", code)) => Fault::StatusAfter(status(code)?),
            None if what == "refuse" => Fault::Refuse,
            None if what == "drop" => Fault::Drop,
            None if what == "half" => Fault::Half,
            None if what == "disagree" => Fault::Disagree,
            _ => return None,
        };
        Some(Rule { method: method.to_owned(), path: path.to_owned(), fault, times })
    }

    fn fits(&self, method: &str, path: &str) -> bool {
        let path_fits = match self.path.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => path == self.path,
        };
        path_fits && (self.method == "*" || self.method == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let file = std::env::temp_dir().join(format!("faults-{}", std::process::id()));
        let faults = Rules::in_file(&file);
        assert_eq!(faults.of_request("GET", "/a"), Ok(None));
        std::fs::write(&file, "# why\nGET /a drop times=1\nPOST /b/* slow=20\n* /a status=500\n").unwrap();
        assert_eq!(faults.of_request("GET", "/a"), Ok(Some(Fault::Drop)));
        assert_eq!(faults.of_request("GET", "/a"), Ok(Some(Fault::Status(500))));
        assert_eq!(faults.of_request("POST", "/b/c"), Ok(Some(Fault::Slow(Duration::from_millis(20)))));
        assert_eq!(faults.of_request("POST", "/bc"), Ok(None));
        for line in
            ["GET", "* * nope", "* * status=9", "* * slow", "* * drop 1", "* x drop", "* * drop times=1 x"]
        {
            std::fs::write(&file, line).unwrap();
            assert!(faults.of_request("GET", "/a").is_err(), "{line}");
        }
        std::fs::remove_file(&file).unwrap();
    }
}
