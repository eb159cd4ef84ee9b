//! Run-time values as JSON that reads back exactly: secret bits, floats and keys of any type.
//!
//! For what is kept between runs, where it is encrypted; what people read is made elsewhere. A field
//! of a serializable type says `#[serde(with = "crate::source::stored")]`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::{Map, Text, Val};

/// What can be kept and read back as it was.
pub trait Stored: Sized {
    fn store(&self) -> Value;

    /// `None` where the JSON is something else.
    fn restore(value: &Value) -> Option<Self>;
}

pub fn serialize<T: Stored, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    value.store().serialize(to)
}

pub fn deserialize<'de, T: Stored, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let value = Value::deserialize(from)?;
    T::restore(&value).ok_or_else(|| D::Error::custom("a kept value can't be read"))
}

impl Stored for Text {
    fn store(&self) -> Value {
        match self.is_secret() {
            true => json!({ "secret": self.as_str() }),
            false => json!(self.as_str()),
        }
    }

    fn restore(value: &Value) -> Option<Text> {
        match value {
            Value::String(text) => Some(Text::new(text.as_str())),
            other => Some(Text::secret(other.get("secret")?.as_str()?)),
        }
    }
}

impl Stored for Val {
    fn store(&self) -> Value {
        match self {
            Val::Null => Value::Null,
            Val::Bool(b) => json!(b),
            Val::Int(i) => json!(i),
            // JSON has neither NaN nor infinity, and 1.0 must not come back as 1.
            Val::Float(f) => json!({ "float": f.to_bits() }),
            Val::Text(t) => t.store(),
            Val::List(l) => l.store(),
            Val::Map(m) => m.store(),
            Val::Omit => json!({ "omit": true }),
        }
    }

    fn restore(value: &Value) -> Option<Val> {
        Some(match value {
            Value::Null => Val::Null,
            Value::Bool(b) => Val::Bool(*b),
            Value::Number(n) => Val::Int(n.as_i64()?),
            Value::Array(_) => Val::list(Vec::restore(value)?),
            Value::String(_) => Val::Text(Text::restore(value)?),
            Value::Object(object) => match object.iter().next()?.0.as_str() {
                "float" => Val::Float(f64::from_bits(object["float"].as_u64()?)),
                "omit" => Val::Omit,
                "map" => Val::map(Map::restore(value)?),
                _ => Val::Text(Text::restore(value)?),
            },
        })
    }
}

impl Stored for Map {
    fn store(&self) -> Value {
        let pairs: Vec<Value> = self.iter().map(|(k, v)| json!([k.store(), v.store()])).collect();
        json!({ "map": pairs })
    }

    fn restore(value: &Value) -> Option<Map> {
        let pairs = value.get("map")?.as_array()?;
        pairs.iter().map(|pair| Some((Val::restore(pair.get(0)?)?, Val::restore(pair.get(1)?)?))).collect()
    }
}

impl Stored for Arc<[u8]> {
    fn store(&self) -> Value {
        json!(STANDARD.encode(self))
    }

    fn restore(value: &Value) -> Option<Arc<[u8]>> {
        Some(STANDARD.decode(value.as_str()?).ok()?.into())
    }
}

impl Stored for Vec<u8> {
    fn store(&self) -> Value {
        json!(STANDARD.encode(self))
    }

    fn restore(value: &Value) -> Option<Vec<u8>> {
        STANDARD.decode(value.as_str()?).ok()
    }
}

impl<T: Stored> Stored for Option<T> {
    fn store(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::store)
    }

    fn restore(value: &Value) -> Option<Option<T>> {
        match value {
            Value::Null => Some(None),
            other => T::restore(other).map(Some),
        }
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn store(&self) -> Value {
        self.iter().map(T::store).collect()
    }

    fn restore(value: &Value) -> Option<Vec<T>> {
        value.as_array()?.iter().map(T::restore).collect()
    }
}

impl<T: Stored> Stored for (String, T) {
    fn store(&self) -> Value {
        json!([self.0, self.1.store()])
    }

    fn restore(value: &Value) -> Option<(String, T)> {
        Some((value.get(0)?.as_str()?.to_string(), T::restore(value.get(1)?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_kept() {
        let inner = Map::from_iter([(Val::Int(5432), Val::secret("s3cret")), (Val::Null, Val::Float(1.0))]);
        let all = Val::list(vec![
            Val::Null,
            Val::Bool(true),
            Val::Int(i64::MIN),
            Val::Float(f64::INFINITY),
            Val::from("plain"),
            Val::Omit,
            Val::map(inner),
            Val::list(vec![]),
            Val::map(Map::new()),
        ]);
        let text = all.store().to_string();
        let back = Val::restore(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(back, all);
        // Equality looks at neither bit nor type.
        assert_eq!(back.store().to_string(), text);
        assert!(back.has_secret());
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        for bad in [r#"{}"#, r#"{"secret":1}"#, r#"{"map":[1]}"#, "1.5", r#"{"float":"x"}"#] {
            assert!(Val::restore(&serde_json::from_str(bad).unwrap()).is_none(), "{bad}");
        }
        assert!(Vec::<Text>::restore(&serde_json::json!("no list")).is_none());
    }
}
