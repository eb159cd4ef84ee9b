//! The one filter that everything shown or written passes.
//!
//! A registered value is replaced by [`MASK`] wherever it or one of its [`forms`](super::forms)
//! stands. Values that are short (under 6 characters), numbers under 8 digits, or common words
//! (`password`, `postgres`; [`common`](super::common)) are not: replacing `yes` or `5432` in every
//! text would make output unreadable and say less about the secret than the holes do. Those are
//! hidden where a value is known to be Secret, by its bit ([`Redactor::redact_val`]), and
//! [`Redactor::register`] says so, that a caller can warn.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use serde_json::Value;

use crate::source::{Text, Val};

use super::forms;
use super::names::password_in_url;
use super::needles::Needles;

/// What is shown in place of a secret.
pub const MASK: &str = "********";

/// How a registered value is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// Replaced in every text, in every form.
    Everywhere,
    /// Too short or too common for that: hidden only where its secret bit is known.
    OnlyMarked,
}

/// Knows every secret of the process. Clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<RwLock<Known>>,
}

#[derive(Default)]
pub(super) struct Known {
    values: HashSet<Box<str>>,
    /// What is told to everybody.
    public: HashSet<Box<str>>,
    pub(super) forms: Needles,
}

impl Known {
    fn is_public(&self, value: &str) -> bool {
        let mut parts = value.split([',', ' ']).filter(|part| !part.is_empty()).peekable();
        parts.peek().is_some() && parts.all(|part| self.public.contains(part))
    }
}

impl Redactor {
    pub fn new() -> Redactor {
        Redactor::default()
    }

    /// Hides `value` from now on.
    pub fn register(&self, value: &str) -> Registered {
        if self.known().values.contains(value) {
            return Registered::Everywhere;
        }
        if self.known().is_public(value) {
            return Registered::OnlyMarked;
        }
        let forms = forms::forms(value);
        if forms.is_empty() {
            return Registered::OnlyMarked;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.values.insert(value.into());
        forms.iter().for_each(|form| known.forms.add(form));
        Registered::Everywhere
    }

    /// Does not hide `value` when it is registered later, nor a list of such values: the name of a
    /// public key, which stands where secrets do.
    pub fn never_hide(&self, value: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).public.insert(value.into());
    }

    /// What of `val` is told to everybody: whoever reads it later doesn't know that.
    pub fn public_in(&self, val: &Val) -> Vec<String> {
        let mut all = Vec::new();
        val.each_text(&mut |text| {
            if self.known().public.contains(&**text) {
                all.push(text.to_string());
            }
        });
        all
    }

    /// Hides every secret text in `val`, keys too.
    pub fn register_val(&self, val: &Val) {
        val.each_text(&mut |text| {
            if text.is_secret() {
                self.register(text);
            }
        });
    }

    /// Hides what is Secret among a task's arguments, and the passwords in URLs, which nothing marks
    /// and every failure quotes.
    pub fn register_args(&self, args: &Val) {
        self.register_val(args);
        args.each_text(&mut |text| {
            if let Some(at) = password_in_url(text) {
                self.register(&text[at]);
            }
        });
    }

    /// Hides everything in `val`, marked or not: texts, and numbers as they print. For values read
    /// from an encrypted file, where a number can't carry a secret bit.
    pub fn register_all_of(&self, val: &Val) {
        match val {
            // A template is rendered before it is used, and then Secret.
            Val::Text(t) if t.is_template() => {}
            Val::Text(t) => drop(self.register(t)),
            Val::Int(i) => drop(self.register(&i.to_string())),
            Val::Float(f) => drop(self.register(&f.to_string())),
            Val::List(items) => items.iter().for_each(|v| self.register_all_of(v)),
            Val::Map(map) => map.values().for_each(|v| self.register_all_of(v)),
            Val::Null | Val::Bool(_) | Val::Omit => {}
        }
    }

    /// The known secrets, as they stand in texts of `val` that aren't Secret themselves: whoever reads
    /// it later doesn't know them.
    pub fn found_in(&self, val: &Val) -> Vec<Text> {
        let mut all = Vec::new();
        val.each_text(&mut |text| {
            if !text.is_secret() {
                let found = self.known().forms.find(text.as_bytes());
                all.extend(found.into_iter().map(|at| Text::secret(&text[at])));
            }
        });
        all
    }

    /// `text` with every secret replaced; overlapping ones by one mask.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let found = self.known().forms.find(text.as_bytes());
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for secret in found {
            // Forms are whole UTF-8 texts, so a match begins and ends between characters.
            out.push_str(&text[at..secret.start]);
            out.push_str(MASK);
            at = secret.end;
        }
        out.push_str(&text[at..]);
        Cow::Owned(out)
    }

    /// For bytes that may not be text.
    pub fn redact_bytes<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let found = self.known().forms.find(bytes);
        if found.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        for secret in found {
            out.extend_from_slice(&bytes[at..secret.start]);
            out.extend_from_slice(MASK.as_bytes());
            at = secret.end;
        }
        out.extend_from_slice(&bytes[at..]);
        Cow::Owned(out)
    }

    /// `val` as it may be shown: a secret text is [`MASK`] whatever its length, any other is
    /// searched. Keys too; keys that become equal are told apart by a number.
    pub fn redact_val(&self, val: &Val) -> Val {
        match val {
            Val::Text(t) => Val::Text(self.redact_text(t)),
            Val::List(items) => Val::list(items.iter().map(|v| self.redact_val(v)).collect()),
            Val::Map(map) => {
                let mut shown = crate::source::Map::with_capacity(map.len());
                for (key, value) in map.iter() {
                    let mut name = self.redact_val(key);
                    let mut number = 2;
                    while shown.contains_key(&name) {
                        name = Val::from(format!("{MASK}{number}"));
                        number += 1;
                    }
                    shown.insert(name, self.redact_val(value));
                }
                Val::map(shown)
            }
            other => other.clone(),
        }
    }

    /// What is JSON already, as it may be shown: JSON, whatever has to be hidden.
    pub fn redact_json(&self, value: &mut Value) {
        self.redact_each(value);
        self.redact_across(value);
    }

    /// A secret can have quotes and colons in it itself, and so stand across several texts: the smallest
    /// part that holds it is hidden.
    fn redact_across(&self, value: &mut Value) {
        let is_clean = |value: &Value| matches!(self.redact(&value.to_string()), Cow::Borrowed(_));
        if is_clean(value) {
            return;
        }
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_across(item)),
            Value::Object(map) => map.values_mut().for_each(|held| self.redact_across(held)),
            _ => {}
        }
        if !is_clean(value) {
            *value = MASK.into();
        }
    }

    /// Each text, number and key by itself.
    fn redact_each(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(hidden) = self.redact(text) {
                    *text = hidden;
                }
            }
            Value::Number(number) => {
                let digits = number.to_string();
                if let Cow::Owned(hidden) = self.redact(&digits) {
                    *value = Value::String(hidden);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_each(item)),
            Value::Object(map) => {
                for (key, mut held) in std::mem::take(map) {
                    self.redact_each(&mut held);
                    let mut name = self.redact(&key).into_owned();
                    let mut number = 2;
                    while map.contains_key(&name) {
                        name = format!("{MASK}{number}");
                        number += 1;
                    }
                    map.insert(name, held);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// One text as it may be shown.
    pub fn redact_text(&self, text: &Text) -> Text {
        if text.is_secret() {
            return Text::new(MASK);
        }
        match self.redact(text) {
            Cow::Borrowed(_) => text.clone(),
            Cow::Owned(hidden) => Text::new(hidden),
        }
    }

    /// What is to be hidden now.
    pub(super) fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows how many secrets it knows, and none of them.
impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.known().values.len();
        write!(f, "Redactor({count} secrets)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowing(values: &[&str]) -> Redactor {
        let redactor = Redactor::new();
        for v in values {
            redactor.register(v);
        }
        redactor
    }

    #[test]
    fn replaces_longest_and_merges_overlaps() {
        let r = knowing(&["abcdef", "abcdefghi", "ghijkl", "secret-value"]);
        for (text, expected) in [
            ("x abcdef y", "x ******** y"),
            ("x abcdefghi y", "x ******** y"),
            ("x abcdefghijkl y", "x ******** y"),
            ("abcdefabcdef", "****************"),
            ("secret-valu", "secret-valu"),
            ("é secret-value é", "é ******** é"),
            ("", ""),
        ] {
            assert_eq!(r.redact(text), expected);
        }
        assert!(matches!(r.redact("nothing"), Cow::Borrowed(_)));
    }

    #[test]
    fn overlaps_are_merged_with_what_came_later() {
        let r = knowing(&["abcdef"]);
        assert_eq!(r.redact("abcdef"), MASK);
        r.register("cdefgh");
        assert_eq!(r.redact("1abcdefgh2"), "1********2");
    }

    #[test]
    fn short_and_common_values_are_hidden_only_where_marked() {
        let r = Redactor::new();
        for value in ["yes", "5432", "password", "x"] {
            assert_eq!(r.register(value), Registered::OnlyMarked);
        }
        assert_eq!(r.redact("password: yes"), "password: yes");
        assert_eq!(r.redact_val(&Val::secret("yes")), Val::from(MASK));
        assert_eq!(r.register("hunter2"), Registered::Everywhere);
        assert_eq!(r.register("hunter2"), Registered::Everywhere);
    }

    #[test]
    fn values_with_their_keys() {
        let r = Redactor::new();
        let mut map = crate::source::Map::new();
        map.insert(Val::secret("k1"), Val::from("hunter2 here"));
        map.insert(Val::secret("k2"), Val::from(vec![Val::secret("hunter2"), Val::Int(5)]));
        let val = Val::map(map);
        r.register_val(&val);
        assert_eq!(
            r.redact_val(&val).to_json().to_string(),
            r#"{"********":"******** here","********2":["********",5]}"#
        );
        let from_file = Val::from(vec![Val::Int(1234567890), Val::from("unmarked-secret")]);
        r.register_all_of(&from_file);
        assert_eq!(r.redact("1234567890 unmarked-secret"), "******** ********");
    }

    #[test]
    fn a_secret_of_bytes_around_it() {
        let r = knowing(&["hunter2"]);
        assert_eq!(&*r.redact_bytes(b"\xffhunter2\xfe"), b"\xff********\xfe");
    }

    #[test]
    fn a_thousand_secrets_cost_linear_time() {
        let r = Redactor::new();
        let secrets: Vec<String> = (0..1000)
            .map(|i| format!("{:x}", 0x9e37_79b9_7f4a_7c15_u128.pow(2).wrapping_mul(i + 7)))
            .collect();
        let began = cpu_seconds();
        for s in &secrets {
            r.register(s);
            // Output between registrations must not rebuild everything each time.
            r.redact("TASK [x] ok");
        }
        let built = cpu_seconds() - began;
        let line = format!("{} and text without any secret in it\n", secrets[500]);
        let time = |lines: usize| {
            let text = line.repeat(lines);
            let began = cpu_seconds();
            assert_eq!(r.redact(&text).matches(MASK).count(), lines);
            cpu_seconds() - began
        };
        time(1000);
        let (once, ten) = (time(5_000), time(50_000));
        assert!(built < 20.0, "built in {built} s");
        assert!(ten < once * 40.0, "{once} s for one part, {ten} s for ten");
    }

    /// Of this thread, so that what else the machine does counts for nothing.
    fn cpu_seconds() -> f64 {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes into the struct given.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    }
}
