//! Amounts as users write them (`512Mi`, `500m`, `1`), as Kubernetes reads them; checked once when they are read.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount with a suffix. Keeps the text as it was written; the value is exact to a thousandth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    text: String,
    milli: u128,
}

impl Quantity {
    /// So many bytes as people read them, to a tenth of the unit and never more than there are: `23.5Gi`.
    pub fn of_bytes(bytes: u64) -> Self {
        let milli = u128::from(bytes) * 1000;
        let binary = SUFFIXES.iter().filter(|(name, _)| name.ends_with('i'));
        let (suffix, unit) = binary
            .filter(|(_, unit)| *unit <= milli)
            .max_by_key(|(_, unit)| *unit)
            .unwrap_or(&("", 1000));
        let tenths = milli * 10 / unit;
        let text = match (tenths / 10, tenths % 10) {
            (whole, 0) => format!("{whole}{suffix}"),
            (whole, tenth) => format!("{whole}.{tenth}{suffix}"),
        };
        Self {
            text,
            milli: (tenths * unit).div_ceil(10),
        }
    }

    /// The amount in thousandths, rounded up: `500m` is 500.
    pub fn milli(&self) -> u128 {
        self.milli
    }

    /// The amount in whole units, rounded up: bytes of memory.
    pub fn units(&self) -> u64 {
        u64::try_from(self.milli.div_ceil(1000)).unwrap_or(u64::MAX)
    }
}

impl From<u64> for Quantity {
    fn from(units: u64) -> Self {
        Self {
            text: units.to_string(),
            milli: u128::from(units) * 1000,
        }
    }
}

/// The text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a quantity; write it like 500m, 2, 512Mi or 1.5Gi")]
pub struct ParseQuantityError(String);

const SUFFIXES: [(&str, u128); 14] = [
    ("Ki", 1000 << 10),
    ("Mi", 1000 << 20),
    ("Gi", 1000 << 30),
    ("Ti", 1000 << 40),
    ("Pi", 1000 << 50),
    ("Ei", 1000 << 60),
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("T", 1_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000_000),
    ("", 1000),
];

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseQuantityError(text.to_owned());
        let digits = text
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let factor = SUFFIXES
            .iter()
            .find(|(name, _)| *name == suffix)
            .ok_or_else(bad)?
            .1;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() > 18
            || fraction.len() > 9
            || (whole.is_empty() && fraction.is_empty())
            || fraction.contains('.')
        {
            return Err(bad());
        }
        let parse = |digits: &str| {
            if digits.is_empty() {
                Ok(0)
            } else {
                digits.parse::<u128>().map_err(|_| bad())
            }
        };
        let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| bad())?);
        let milli = parse(whole)? * factor + (parse(fraction)? * factor).div_ceil(scale);
        Ok(Self {
            text: text.to_owned(),
            milli,
        })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A quantity may be written without quotes: `cpu: 2`.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Whole(u64),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Whole(number) => number.to_string(),
        };
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 30,
            "x-kubernetes-validations": [{
                "rule": "string(self).matches('^([0-9]{1,18}([.][0-9]{0,9})?|[.][0-9]{1,9})(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$')",
                "message": "write an amount like 500m, 2, 512Mi or 1.5Gi",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milli(text: &str) -> u128 {
        text.parse::<Quantity>().unwrap().milli()
    }

    #[test]
    fn suffixes_mean_what_they_mean_in_kubernetes() {
        assert_eq!(milli("1"), 1000);
        assert_eq!(milli("500m"), 500);
        assert_eq!(milli("0.5"), 500);
        assert_eq!(milli("1.5Gi"), 1_610_612_736_000);
        assert_eq!("512Mi".parse::<Quantity>().unwrap().units(), 536_870_912);
        assert_eq!(milli("2k"), 2_000_000);
    }

    #[test]
    fn bytes_are_written_as_people_read_them_and_never_as_more_than_there_are() {
        for (bytes, text) in [
            (25_276_510_208, "23.5Gi"),
            (4 << 30, "4Gi"),
            ((1 << 30) - 1, "1023.9Mi"),
            (1024, "1Ki"),
            (1000, "1000"),
            (0, "0"),
        ] {
            let quantity = Quantity::of_bytes(bytes);
            assert_eq!(quantity.to_string(), text);
            assert_eq!(text.parse(), Ok(quantity), "{text}");
        }
    }

    #[test]
    fn fractions_below_a_thousandth_are_rounded_up() {
        assert_eq!(milli("0.0001"), 1);
        assert_eq!("1m".parse::<Quantity>().unwrap().units(), 1);
    }

    #[test]
    fn text_that_is_no_quantity_is_refused_with_what_would_be_right() {
        for text in ["", "x", "1.2.3", "-1", "512MB", "1 Gi", ".", "1u"] {
            let error = text.parse::<Quantity>().unwrap_err();
            assert!(
                error.to_string().contains("write it like"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn whole_numbers_without_quotes_are_read_too() {
        let read = |json: &str| serde_json::from_str::<Quantity>(json).unwrap().to_string();
        assert_eq!(read("2"), "2");
        assert_eq!(read("\"512Mi\""), "512Mi");
    }
}
