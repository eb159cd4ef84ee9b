//! [`Val`] → the typed arguments of a module, by the rules of Ansible's `argument_spec`:
//! `yes` is a boolean, `"5"` an integer, `a,b` a list, a number a string.
//!
//! One `Deserialize` serves twice: at run time with the rendered values, and at load, where every
//! template is a hole that fits anything, so that literal mistakes are found before a host is
//! touched.

use std::cell::Cell;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};

use super::{Map, Text, Val};

/// Why arguments did not fit. `arg` is the argument at fault where one is.
#[derive(Debug, Clone, PartialEq)]
pub struct ArgError {
    pub arg: Option<String>,
    pub message: String,
}

impl fmt::Display for ArgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for ArgError {}
impl de::Error for ArgError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        ArgError { arg: None, message: message.to_string() }
    }
    fn missing_field(field: &'static str) -> Self {
        ArgError { arg: None, message: format!("missing required argument: {field}") }
    }
    fn unknown_variant(got: &str, expected: &'static [&'static str]) -> Self {
        ArgError { arg: None, message: format!("must be one of: {}, got: {got}", expected.join(", ")) }
    }
}

/// The typed arguments. `Omit` values count as not given.
///
/// # Errors
/// The first argument that is unknown, missing or of the wrong type.
pub fn from_val<T: DeserializeOwned>(args: &Val) -> Result<T, ArgError> {
    T::deserialize(De { val: args, holes: false })
}

/// Checks what is literal in `args`; templates fit anything.
///
/// # Errors
/// As [`from_val`].
pub fn check_literals<T: DeserializeOwned>(args: &Val) -> Result<(), ArgError> {
    T::deserialize(De { val: args, holes: true }).map(drop)
}

/// Every name that `T` takes, aliases included, as its `Deserialize` declares them.
pub fn known_names<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Probe<'a>(&'a Cell<&'static [&'static str]>);
    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = ArgError;
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ArgError> {
            Err(de::Error::custom("probe"))
        }
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, ArgError> {
            self.0.set(fields);
            Err(de::Error::custom("probe"))
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let fields = Cell::new(&[][..]);
    let _ = T::deserialize(Probe(&fields));
    fields.get()
}

/// The booleans of Ansible's `boolean()` (module_utils/parsing/convert_bool.py).
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
        "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
        _ => None,
    }
}

/// A value as Python's `str()` writes a scalar; `None` for lists and maps.
pub fn scalar_text(val: &Val) -> Option<Text> {
    Some(match val {
        Val::Text(t) => t.clone(),
        Val::Bool(b) => Text::new(if *b { "True" } else { "False" }),
        Val::Int(i) => Text::new(i.to_string()),
        Val::Float(f) => {
            Text::new(if f.fract() == 0.0 && f.abs() < 1e16 { format!("{f:.1}") } else { f.to_string() })
        }
        _ => return None,
    })
}

#[derive(Clone, Copy)]
struct De<'v> {
    val: &'v Val,
    holes: bool,
}

/// Names by which [`Val`] and [`Text`] ask for the value itself instead of a serde rendering.
const VAL: &str = "$seqn::Val";
const TEXT: &str = "$seqn::Text";

thread_local! {
    // Serde's data model can't carry our own type through a Visitor, so the value is handed over
    // here, inside one call and never across an await.
    static HANDED: Cell<Option<Val>> = const { Cell::new(None) };
}

impl<'v> De<'v> {
    fn is_hole(&self) -> bool {
        self.holes && matches!(self.val, Val::Text(t) if t.is_template())
    }

    fn wrong<T>(&self, wanted: &str) -> Result<T, ArgError> {
        let got = match self.val {
            Val::Text(t) if t.is_secret() => "********".to_string(),
            other => format!("{other:?}"),
        };
        Err(de::Error::custom(format!("must be {wanted}, got {}: {got}", self.val.type_name())))
    }

    fn parse<N: std::str::FromStr>(&self, wanted: &str) -> Result<N, ArgError> {
        match scalar_text(self.val).and_then(|t| t.trim().parse().ok()) {
            Some(n) => Ok(n),
            None => self.wrong(wanted),
        }
    }
}

impl<'de, 'v> IntoDeserializer<'de, ArgError> for De<'v> {
    type Deserializer = De<'v>;
    fn into_deserializer(self) -> De<'v> {
        self
    }
}

macro_rules! number {
    ($($method:ident $visit:ident $ty:ty, $wanted:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ArgError> {
            if self.is_hole() { return v.$visit(<$ty>::default()); }
            if let Val::Float(f) = self.val && f.fract() == 0.0 { return v.$visit(*f as $ty); }
            v.$visit(self.parse::<$ty>($wanted)?)
        }
    )*};
}

impl<'de, 'v> Deserializer<'de> for De<'v> {
    type Error = ArgError;

    fn deserialize_any<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ArgError> {
        match self.val {
            Val::Null | Val::Omit => v.visit_unit(),
            Val::Bool(b) => v.visit_bool(*b),
            Val::Int(i) => v.visit_i64(*i),
            Val::Float(f) => v.visit_f64(*f),
            Val::Text(t) => v.visit_str(t),
            Val::List(_) => self.deserialize_seq(v),
            Val::Map(_) => self.deserialize_map(v),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ArgError> {
        if self.is_hole() {
            return v.visit_bool(false);
        }
        match scalar_text(self.val).and_then(|t| parse_bool(&t)) {
            Some(b) => v.visit_bool(b),
            None => self.wrong("a boolean"),
        }
    }

    number! {
        deserialize_i8 visit_i8 i8, "an integer"; deserialize_i16 visit_i16 i16, "an integer";
        deserialize_i32 visit_i32 i32, "an integer"; deserialize_i64 visit_i64 i64, "an integer";
        deserialize_u8 visit_u8 u8, "a whole number"; deserialize_u16 visit_u16 u16, "a whole number";
        deserialize_u32 visit_u32 u32, "a whole number"; deserialize_u64 visit_u64 u64, "a whole number";
        deserialize_f32 visit_f32 f32, "a number"; deserialize_f64 visit_f64 f64, "a number";
    }

    fn deserialize_str<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ArgError> {
        match scalar_text(self.val) {
            Some(t) => v.visit_str(&t),
            None => self.wrong("a string"),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ArgError> {
        self.deserialize_str(v)
    }

    fn deserialize_char<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ArgError> {
        self.deserialize_str(v)
    }

    fn deserialize_option<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ArgError> {
        match self.val {
            Val::Null | Val::Omit => v.visit_none(),
            _ => v.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        v: V,
    ) -> Result<V::Value, ArgError> {
        match name {
            VAL => {
                HANDED.set(Some(self.val.clone()));
                v.visit_unit()
            }
            TEXT => match scalar_text(self.val) {
                Some(t) => {
                    HANDED.set(Some(Val::Text(t)));
                    v.visit_unit()
                }
                None => self.wrong("a string"),
            },
            _ => v.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ArgError> {
        if self.is_hole() {
            return v.visit_seq(SeqDeserializer::<_, ArgError>::new(std::iter::empty::<De<'v>>()));
        }
        match self.val {
            Val::List(l) => {
                v.visit_seq(SeqDeserializer::new(l.iter().map(|val| De { val, holes: self.holes })))
            }
            Val::Text(t) => {
                let secret = t.is_secret();
                let parts: Vec<Val> = (!t.is_empty())
                    .then(|| t.split(','))
                    .into_iter()
                    .flatten()
                    .map(|p| if secret { Val::secret(p.trim()) } else { Val::from(p.trim()) })
                    .collect();
                v.visit_seq(SeqDeserializer::new(parts.iter().map(|val| De { val, holes: self.holes })))
            }
            Val::Int(_) | Val::Float(_) | Val::Bool(_) => {
                v.visit_seq(SeqDeserializer::new(std::iter::once(De { val: self.val, holes: self.holes })))
            }
            _ => self.wrong("a list"),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ArgError> {
        if self.is_hole() {
            return v.visit_map(MapDeserializer::<_, ArgError>::new(std::iter::empty::<(De<'v>, De<'v>)>()));
        }
        let Val::Map(m) = self.val else { return self.wrong("a mapping") };
        let given = m.iter().filter(|(_, v)| !matches!(v, Val::Omit));
        let arg: Cell<Option<String>> = Cell::new(None);
        let entries = given.map(|(k, val)| {
            arg.set(Some(k.key_text()));
            (De { val: k, holes: self.holes }, De { val, holes: self.holes })
        });
        v.visit_map(MapDeserializer::<_, ArgError>::new(entries)).map_err(|mut e: ArgError| {
            // A field that is missing is noticed after the last entry was read and is nobody's fault.
            if e.arg.is_none() && !e.message.starts_with("missing required") {
                e.arg = arg.take();
                if let Some(arg) = &e.arg
                    && e.message.starts_with("must be")
                {
                    e.message = format!("{arg} {}", e.message);
                }
            }
            e
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        v: V,
    ) -> Result<V::Value, ArgError> {
        self.deserialize_map(v)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        v: V,
    ) -> Result<V::Value, ArgError> {
        if self.is_hole() {
            let first = variants.first().copied().unwrap_or("");
            return v.visit_enum(StrDeserializer::<ArgError>::new(first));
        }
        match scalar_text(self.val) {
            Some(t) => v.visit_enum(StrDeserializer::<ArgError>::new(&t)),
            None => self.wrong(&format!("one of: {}", variants.join(", "))),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, v: V) -> Result<V::Value, ArgError> {
        self.deserialize_seq(v)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        v: V,
    ) -> Result<V::Value, ArgError> {
        self.deserialize_seq(v)
    }

    serde::forward_to_deserialize_any! {
        bytes byte_buf unit unit_struct identifier ignored_any
    }
}

struct Handed;
impl<'de> Visitor<'de> for Handed {
    type Value = Val;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a module argument")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Val, E> {
        HANDED.take().ok_or_else(|| E::custom("only module arguments can be read as Val"))
    }
}

impl<'de> de::Deserialize<'de> for Val {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Val, D::Error> {
        d.deserialize_newtype_struct(VAL, Handed)
    }
}

impl<'de> de::Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Text, D::Error> {
        match d.deserialize_newtype_struct(TEXT, Handed)? {
            Val::Text(t) => Ok(t),
            other => Err(de::Error::custom(format!("must be a string, got {}", other.type_name()))),
        }
    }
}

impl schemars::JsonSchema for Val {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Any".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!(true)
    }
}

impl schemars::JsonSchema for Text {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

/// A map of arguments, for tests and for callers in the engine.
pub fn args(entries: impl IntoIterator<Item = (&'static str, Val)>) -> Val {
    Val::map(entries.into_iter().map(|(k, v)| (Val::from(k), v)).collect::<Map>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{SourceFile, Span};

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum State {
        Present,
        Absent,
    }

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Args {
        #[serde(alias = "dest")]
        path: String,
        #[serde(default)]
        create: bool,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        texts: Vec<Text>,
        line: Option<Text>,
        state: Option<State>,
        port: Option<u16>,
        any: Option<Val>,
    }

    #[test]
    fn coerces_as_argument_spec_does() {
        let a: Args = from_val(&args([
            ("dest", Val::from("/etc/x")),
            ("create", Val::from("yes")),
            ("names", Val::from("a, b")),
            ("texts", Val::secret("p,q")),
            ("line", Val::secret("s3cret")),
            ("state", Val::from("absent")),
            ("port", Val::from("22")),
            ("any", Val::from(vec![1i64, 2])),
        ]))
        .unwrap();
        assert_eq!(a.path, "/etc/x");
        assert!(a.create && a.line.unwrap().is_secret());
        assert_eq!(a.names, ["a", "b"]);
        assert!(a.texts.iter().all(Text::is_secret) && a.texts.len() == 2);
        assert_eq!((a.state, a.port), (Some(State::Absent), Some(22)));
        assert_eq!(a.any, Some(Val::from(vec![1i64, 2])));
    }

    #[test]
    fn names_come_from_the_struct_with_aliases() {
        let names = known_names::<Args>();
        assert!(names.contains(&"path") && names.contains(&"dest"), "{names:?}");
    }

    #[test]
    fn errors_name_the_argument() {
        let bad =
            from_val::<Args>(&args([("path", Val::from("/x")), ("create", Val::from("maybe"))])).unwrap_err();
        assert_eq!(bad.arg.as_deref(), Some("create"));
        assert!(bad.message.contains("must be a boolean"), "{bad}");
        let bad =
            from_val::<Args>(&args([("path", Val::from("/x")), ("state", Val::from("gone"))])).unwrap_err();
        assert_eq!(bad.message, "state must be one of: present, absent, got: gone");
        let bad = from_val::<Args>(&args([("create", Val::from(true))])).unwrap_err();
        assert_eq!(bad.message, "missing required argument: path");
    }

    #[test]
    fn a_secret_is_not_in_the_error() {
        let bad =
            from_val::<Args>(&args([("path", Val::from("/x")), ("create", Val::secret("hunter2hunter2"))]));
        assert!(!bad.unwrap_err().message.contains("hunter2"));
    }

    #[test]
    fn templates_fit_anything_at_load() {
        let at = Span::whole(&SourceFile::typed("<t>", String::new()));
        let hole = || Val::Text(Text::template("{{ x }}", &at));
        check_literals::<Args>(&args([
            ("path", hole()),
            ("create", hole()),
            ("state", hole()),
            ("names", hole()),
        ]))
        .unwrap();
        check_literals::<Args>(&args([("path", hole()), ("port", Val::from("ssh"))])).unwrap_err();
    }
}
