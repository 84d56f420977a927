//! Request bodies: JSON and YAML into one `Value`, with every duplicated field noted on the way.
//! Not here: which fields a kind knows (`schema`) and reading the bytes off the wire (`filters`).

use std::cell::RefCell;
use std::fmt;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::status::ApiError;

/// The formats of a whole object in a request.
const ACCEPTED: [&str; 2] = ["application/json", "application/yaml"];

/// A decoded body.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The content; of a duplicated field the last value.
    pub(crate) value: Value,
    /// The paths of fields that stand more than once, as `spec.image`.
    pub(crate) duplicates: Vec<String>,
}

/// The media type of the body without its parameters; empty when the client does not say it.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Decodes a whole object: 415 for a format we do not read, 400 for text that is not of its format.
pub(crate) fn decode(headers: &HeaderMap, bytes: &[u8]) -> Result<Decoded, ApiError> {
    match media_type(headers).as_str() {
        "application/json" => json(bytes),
        "application/yaml" => yaml(bytes),
        _ => Err(ApiError::unsupported_media_type(&ACCEPTED)),
    }
}

/// Decodes JSON text.
pub(crate) fn json(bytes: &[u8]) -> Result<Decoded, ApiError> {
    let duplicates = RefCell::new(Vec::new());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Noting {
        path: &Path::Root,
        duplicates: &duplicates,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value))
    .map_err(|error| ApiError::bad_request(format!("the body is not valid JSON: {error}")))?;
    Ok(Decoded {
        value,
        duplicates: duplicates.into_inner(),
    })
}

/// YAML refuses duplicated fields by itself, whatever the level of validation.
fn yaml(bytes: &[u8]) -> Result<Decoded, ApiError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is not UTF-8: {error}")))?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ApiError::bad_request(format!("the body is not valid YAML: {error}")))?;
    Ok(Decoded {
        value,
        duplicates: Vec::new(),
    })
}

/// Where the walk is; held on the stack and turned into text only for a duplicate.
enum Path<'a> {
    Root,
    Field(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Builds a `Value` as `serde_json` does, and notes the duplicates that it passes over.
#[derive(Clone, Copy)]
struct Noting<'a> {
    path: &'a Path<'a>,
    duplicates: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Noting<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Noting<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = Path::Item(self.path, list.len());
            match items.next_element_seed(Noting {
                path: &path,
                duplicates: self.duplicates,
            })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let path = Path::Field(self.path, &name);
            let value = fields.next_value_seed(Noting {
                path: &path,
                duplicates: self.duplicates,
            })?;
            if map.contains_key(&name) {
                let mut duplicates = self.duplicates.borrow_mut();
                let text = path.to_string();
                if duplicates.len() >= 1000 {
                    return Err(A::Error::custom("more than 1000 duplicated fields"));
                }
                if !duplicates.contains(&text) {
                    duplicates.push(text);
                }
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::status::Reason;

    #[test]
    fn every_duplicated_field_is_named_once_and_its_last_value_counts() {
        let decoded = json(br#"{"a":1,"a":2,"spec":{"l":[{"x":1,"x":2,"x":3}]}}"#).unwrap();
        assert_eq!(decoded.value, json!({"a": 2, "spec": {"l": [{"x": 3}]}}));
        assert_eq!(decoded.duplicates, ["a", "spec.l[0].x"]);
    }

    #[test]
    fn hostile_json_is_a_bad_request() {
        let deep = "[".repeat(1_000_000);
        for text in [
            deep.as_str(),
            "1e999",
            r#""\ud800""#,
            "\u{feff}{}",
            "{}{}",
            "",
            "{\"a\":}",
        ] {
            let error = json(text.as_bytes()).unwrap_err();
            assert_eq!(
                error.reason(),
                Reason::BadRequest,
                "{}",
                &text[..text.len().min(20)]
            );
        }
    }

    #[test]
    fn yaml_becomes_the_same_value_as_json() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/yaml".parse().unwrap());
        let decoded = decode(&headers, b"a: 1\nb: [x, 0644]\nc: {d: true}\n").unwrap();
        assert_eq!(
            decoded.value,
            json!({"a": 1, "b": ["x", 420], "c": {"d": true}})
        );
        assert!(decode(&headers, b"a: 1\na: 2\n").is_err());
    }

    #[test]
    fn another_format_is_named_with_what_would_be_read() {
        let mut headers = HeaderMap::new();
        for media_type in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/vnd.kubernetes.protobuf",
        ] {
            headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
            let error = decode(&headers, b"{}").unwrap_err();
            assert_eq!(
                error.message(),
                "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml"
            );
        }
        assert!(
            decode(&HeaderMap::new(), b"{}").is_err(),
            "a body without a media type is not guessed at"
        );
    }

    proptest! {
        #[test]
        fn what_serde_json_reads_is_read_the_same(text in r#"[\[\]{}:,"a-c0-9.eE \\-]{0,40}"#) {
            let ours = json(text.as_bytes()).ok().map(|decoded| decoded.value);
            prop_assert_eq!(ours, serde_json::from_str::<Value>(&text).ok());
        }
    }
}
