//! The words of a call of Compose.

use super::args::{Build, Pull, Recreate};
use super::project::Project;
use crate::module::compose::Version;

impl Project {
    pub fn up_words(&self) -> Vec<String> {
        let args = &self.args;
        let mut words: Vec<String> =
            ["up", "--detach", "--no-color", "--quiet-pull"].map(String::from).to_vec();
        let mut push = |word: &str| words.push(word.to_string());
        match args.pull {
            Pull::Policy => {}
            Pull::Always => ["--pull", "always"].into_iter().for_each(&mut push),
            Pull::Missing => ["--pull", "missing"].into_iter().for_each(&mut push),
            Pull::Never => ["--pull", "never"].into_iter().for_each(&mut push),
        }
        if args.remove_orphans {
            push("--remove-orphans");
        }
        match args.recreate {
            Recreate::Always => push("--force-recreate"),
            Recreate::Never => push("--no-recreate"),
            Recreate::Auto => {}
        }
        if args.renew_anon_volumes {
            push("--renew-anon-volumes");
        }
        if !args.dependencies {
            push("--no-deps");
        }
        if let Some(seconds) = args.timeout {
            push("--timeout");
            push(&seconds.to_string());
        }
        match args.build {
            Build::Always => push("--build"),
            Build::Never => push("--no-build"),
            Build::Policy => {}
        }
        for (service, count) in &args.scale {
            push("--scale");
            push(&format!("{service}={count}"));
        }
        if args.wait {
            push("--wait");
            if let Some(seconds) = args.wait_timeout {
                push("--wait-timeout");
                push(&seconds.to_string());
            }
        }
        if args.assume_yes {
            push(if self.version < Version::ASSUME_YES_LONG { "-y" } else { "--yes" });
        }
        self.services_after(words)
    }

    pub fn services_after(&self, mut words: Vec<String>) -> Vec<String> {
        words.push("--".into());
        words.extend(self.args.services.iter().cloned());
        words
    }

    pub fn with_timeout(&self, word: &str) -> Vec<String> {
        let mut words = vec![word.to_string()];
        if let Some(seconds) = self.args.timeout {
            words.extend(["--timeout".into(), seconds.to_string()]);
        }
        words
    }
}

/// The flags of `up` but for those that make it wait.
pub fn without_wait(words: &[String]) -> Vec<String> {
    let mut kept = words.to_vec();
    if let Some(at) = kept.iter().position(|w| w == "--wait-timeout") {
        kept.drain(at..at + 2);
    }
    kept.retain(|w| w != "--wait");
    kept
}
