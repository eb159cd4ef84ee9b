//! Which Compose is installed, and whether it will do.

use std::fmt;

use crate::module::Failure;
use crate::remote::Output;

/// A version of Compose without what follows the third number (`2.26.1-4` → 2.26.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

const fn version(major: u32, minor: u32, patch: u32) -> Version {
    Version { major, minor, patch }
}

impl Version {
    /// The first with `--dry-run`.
    pub const MINIMUM: Version = version(2, 18, 0);
    pub const PROGRESS: Version = version(2, 19, 0);
    pub const PS_NO_TRUNC: Version = version(2, 23, 0);
    pub const ASSUME_YES: Version = version(2, 32, 0);
    /// Before it, the long form of `-y` was misspelt.
    pub const ASSUME_YES_LONG: Version = version(2, 34, 0);

    fn parse(text: &str) -> Option<Version> {
        let mut parts = text.trim().trim_start_matches('v').split(['.', '-', '+']).map(str::parse);
        let major = parts.next()?.ok()?;
        let minor = parts.next()?.ok()?;
        let patch = parts.next().and_then(Result::ok).unwrap_or(0);
        Some(version(major, minor, patch))
    }
}

/// A script that asks for the plugin's version as JSON and, where there is none, for that of a
/// `docker-compose` program. Compose v1 answers an unknown flag with its usage and status 0, so
/// only an answer that reads as JSON counts.
pub const ASK: &str = r#""$@" compose version --format json && exit
status=$?
docker-compose version --short </dev/null 2>/dev/null && exit 101
exit $status"#;

/// The status of [`ASK`] when only a `docker-compose` program answered.
const STANDALONE: i32 = 101;

const INSTALL: &str = "install the Compose v2 plugin on the host: `apt install docker-compose-plugin` with Docker's own \
     repository, `apt install docker-compose-v2` on Ubuntu, `apt install docker-compose` on Debian 13; then \
     `docker compose version` must answer";

/// Reads the answer to [`ASK`].
///
/// # Errors
/// No Docker, no plugin, Compose v1, or a version before [`Version::MINIMUM`].
pub fn judge(cli: &str, answer: &Output) -> Result<Version, Failure> {
    let (stdout, stderr) = (answer.stdout_text(), answer.stderr_text());
    if answer.status == STANDALONE {
        let found = stdout.lines().last().unwrap_or_default().trim().to_string();
        return Err(Failure::new(format!(
            "this host has no Compose v2 plugin for {cli}, only the program docker-compose {found}; Compose v1 is \
             refused, because it answers flags that it doesn't know with its usage and status 0"
        ))
        .help(INSTALL));
    }
    if answer.status == 127 {
        return Err(Failure::new(format!("{cli} was not found on the host"))
            .help("install Docker, or say where it is with `docker_cli:`"));
    }
    let said = serde_json::from_str::<serde_json::Value>(stdout.trim()).ok();
    let Some(said) = said.as_ref().and_then(|json| json.get("version")?.as_str()) else {
        let first = [stderr.as_str(), stdout.as_str()]
            .iter()
            .find_map(|text| text.lines().find(|l| !l.trim().is_empty()))
            .unwrap_or("nothing")
            .trim()
            .to_string();
        return Err(Failure::new(format!(
            "{cli} has no Compose v2 plugin; asked for its version it said: {first}"
        ))
        .help(INSTALL));
    };
    let Some(found) = Version::parse(said) else {
        return Err(
            Failure::new(format!("{cli} has a Compose plugin of unknown version \"{said}\"")).help(INSTALL)
        );
    };
    if found < Version::MINIMUM {
        return Err(Failure::new(format!(
            "{cli} has the Compose plugin {found}; {} or later is needed, the first that can tell beforehand what it \
             would do",
            Version::MINIMUM
        ))
        .help(INSTALL));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: i32, stdout: &str, stderr: &str) -> Output {
        Output { status, stdout: stdout.into(), stderr: stderr.into(), ..Output::default() }
    }

    #[test]
    fn versions_are_read_from_any_packager() {
        for (text, want) in [
            ("2.26.1-4", (2, 26, 1)),
            ("v2.29.7", (2, 29, 7)),
            ("5.0.1+ds1-0ubuntu1", (5, 0, 1)),
            ("2.40", (2, 40, 0)),
        ] {
            let found = judge("docker", &said(0, &format!("{{\"version\":\"{text}\"}}\n"), "")).unwrap();
            assert_eq!((found.major, found.minor, found.patch), want, "{text}");
        }
    }

    #[test]
    fn what_will_not_do_is_refused_with_its_reason() {
        for (answer, part) in [
            (said(101, "1.29.2\n", ""), "only the program docker-compose 1.29.2"),
            (
                said(0, "Define and run multi-container applications with Docker.\n\nUsage:\n", ""),
                "Define and run",
            ),
            (said(1, "", "docker: 'compose' is not a docker command.\n"), "is not a docker command"),
            (said(127, "", "sh: 1: docker: not found\n"), "was not found"),
            (said(0, "{\"version\":\"v2.17.3\"}", ""), "2.18.0 or later"),
            (said(0, "{\"version\":\"dev\"}", ""), "unknown version \"dev\""),
        ] {
            let failure = judge("docker", &answer).unwrap_err();
            assert!(failure.message.contains(part), "{} lacks {part}", failure.message);
            assert!(failure.help.is_some());
        }
    }
}
