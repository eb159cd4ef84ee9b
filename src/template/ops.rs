//! Python's arithmetic.

use super::eval::{Eval, Run};
use super::expr::too_large;
use super::fault::Fault;
use super::format;
use super::program::Math;
use super::value::Value;

/// Longest text or list that `*` makes, in characters or items.
const LONGEST: usize = 100_000_000;

impl Eval<'_> {
    pub fn math(&self, op: Math, a: &Value, b: &Value) -> Run<Value> {
        match (op, a, b) {
            (Math::Concat, a, b) => Ok(Value::text(format!("{}{}", self.str(a)?, self.str(b)?))),
            (Math::Add, Value::Text(a), Value::Text(b)) => Ok(Value::text(format!("{a}{b}"))),
            (Math::Add, Value::List(a), Value::List(b)) => {
                let mut items = self.items_of(a)?;
                items.extend(self.items_of(b)?);
                Ok(Value::list(items))
            }
            (Math::Add, Value::Tuple(a), Value::Tuple(b)) => {
                let mut items = self.items_of(a)?;
                items.extend(self.items_of(b)?);
                Ok(Value::tuple(items))
            }
            (Math::Mul, Value::Text(_) | Value::List(_) | Value::Tuple(_), n) if n.as_int().is_some() => {
                self.repeat(a, n.as_int().unwrap_or(0))
            }
            (Math::Mul, n, Value::Text(_) | Value::List(_) | Value::Tuple(_)) if n.as_int().is_some() => {
                self.repeat(b, n.as_int().unwrap_or(0))
            }
            (Math::Rem, Value::Text(pattern), values) => {
                Ok(Value::text(format::percent(self, pattern, values)?))
            }
            (Math::Sub, Value::DateTime(a), Value::DateTime(b)) => Ok(Value::Delta(*a - *b)),
            (Math::Add, Value::DateTime(d), Value::Delta(x))
            | (Math::Add, Value::Delta(x), Value::DateTime(d)) => {
                d.checked_add_signed(*x).map(Value::DateTime).ok_or_else(too_large)
            }
            (Math::Sub, Value::DateTime(d), Value::Delta(x)) => {
                d.checked_sub_signed(*x).map(Value::DateTime).ok_or_else(too_large)
            }
            (Math::Add, Value::Delta(a), Value::Delta(b)) => {
                a.checked_add(b).map(Value::Delta).ok_or_else(too_large)
            }
            (Math::Sub, Value::Delta(a), Value::Delta(b)) => {
                a.checked_sub(b).map(Value::Delta).ok_or_else(too_large)
            }
            (op, a, b) if a.is_number() && b.is_number() => match (a.as_int(), b.as_int()) {
                (Some(a), Some(b)) => ints(op, a, b),
                _ => floats(op, a.as_float().unwrap_or(f64::NAN), b.as_float().unwrap_or(f64::NAN)),
            },
            (Math::Add, Value::Text(_), other) => {
                Err(Fault::plain(format!("can only concatenate str (not \"{}\") to str", other.type_name())))
            }
            (Math::Add, Value::List(_), other) => Err(Fault::plain(format!(
                "can only concatenate list (not \"{}\") to list",
                other.type_name()
            ))),
            (op, a, b) => Err(Fault::plain(format!(
                "unsupported operand type(s) for {}: '{}' and '{}'",
                sign(op),
                a.type_name(),
                b.type_name()
            ))),
        }
    }

    fn repeat(&self, value: &Value, times: i128) -> Run<Value> {
        let times = usize::try_from(times.max(0)).map_err(|_| too_large())?;
        if self.length(value)?.saturating_mul(times) > LONGEST {
            return Err(Fault::plain("the result of '*' would be too long"));
        }
        Ok(match value {
            Value::Text(s) => Value::text(s.repeat(times)),
            Value::Tuple(items) => {
                let items = self.items_of(items)?;
                Value::tuple(std::iter::repeat_n(items, times).flatten().collect())
            }
            other => {
                let items = self.iterate_lazy(other)?;
                Value::list(std::iter::repeat_n(items, times).flatten().collect())
            }
        })
    }
}

fn sign(op: Math) -> &'static str {
    match op {
        Math::Add => "+",
        Math::Sub => "-",
        Math::Mul => "*",
        Math::Div => "/",
        Math::FloorDiv => "//",
        Math::Rem => "%",
        Math::Pow => "** or pow()",
        Math::Concat => "~",
    }
}

fn zero_division(what: &str) -> Fault {
    Fault::plain(what)
}

fn ints(op: Math, a: i128, b: i128) -> Run<Value> {
    let int = |i: Option<i128>| i.map(Value::Int).ok_or_else(too_large);
    match op {
        Math::Add => int(a.checked_add(b)),
        Math::Sub => int(a.checked_sub(b)),
        Math::Mul => int(a.checked_mul(b)),
        Math::Div if b == 0 => Err(zero_division("division by zero")),
        Math::Div => Ok(Value::Float(a as f64 / b as f64)),
        Math::FloorDiv if b == 0 => Err(zero_division("integer division or modulo by zero")),
        Math::FloorDiv => {
            let q = a.checked_div(b).ok_or_else(too_large)?;
            Ok(Value::Int(if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q }))
        }
        Math::Rem if b == 0 => Err(zero_division("integer modulo by zero")),
        Math::Rem => {
            let r = a.checked_rem(b).ok_or_else(too_large)?;
            Ok(Value::Int(if r != 0 && (r < 0) != (b < 0) { r + b } else { r }))
        }
        Math::Pow if b < 0 => floats(op, a as f64, b as f64),
        Math::Pow => int(u32::try_from(b).ok().and_then(|b| a.checked_pow(b))),
        Math::Concat => Ok(Value::text(format!("{a}{b}"))),
    }
}

fn floats(op: Math, a: f64, b: f64) -> Run<Value> {
    Ok(Value::Float(match op {
        Math::Add => a + b,
        Math::Sub => a - b,
        Math::Mul => a * b,
        Math::Div | Math::FloorDiv | Math::Rem if b == 0.0 => {
            return Err(zero_division("float division by zero"));
        }
        Math::Div => a / b,
        Math::FloorDiv => (a / b).floor(),
        Math::Rem => a - b * (a / b).floor(),
        Math::Pow if a == 0.0 && b < 0.0 => {
            return Err(zero_division("0.0 cannot be raised to a negative power"));
        }
        Math::Pow => a.powf(b),
        Math::Concat => a + b,
    }))
}

/// `a + b`, for `sum`.
pub fn add(eval: &Eval, a: &Value, b: &Value) -> Run<Value> {
    eval.math(Math::Add, a, b)
}
