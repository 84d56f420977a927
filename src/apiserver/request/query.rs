//! The query string: decoded once, read by name, with the errors Kubernetes gives for values that make no sense.
//! Not here: what selectors mean (`selector`).

use std::collections::BTreeMap;

use crate::status::ApiError;

/// The parameters of a request; where one is given twice, the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads the part of a URI behind `?`.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parameters = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters
                .entry(decode(&name.replace('+', " ")))
                .or_insert_with(|| decode(&value.replace('+', " ")));
        }
        Self(parameters)
    }

    /// The value of a parameter that is present and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether a boolean parameter is set, read as Kubernetes does: present and neither `false` nor `0`.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|value| !matches!(value.as_str(), "false" | "0"))
    }

    /// A boolean that knows "not given".
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.0
            .get(name)
            .map(|value| !matches!(value.as_str(), "false" | "0"))
    }

    /// A whole number that is not negative.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    ApiError::bad_request(format!("invalid value for query parameter {name}: {text:?} is not a whole number from 0 upwards"))
                })
            })
            .transpose()
    }
}

/// Percent-decodes one piece of a URI; bytes that are no UTF-8 become replacement characters.
pub(crate) fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = escaped {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_first_of_two_counts() {
        let query =
            Query::parse("&limit=500&labelSelector=app%3Dweb%2Ctier+in+%28a%29&limit=1&watch");
        assert_eq!(query.get("labelSelector"), Some("app=web,tier in (a)"));
        assert_eq!(query.number("limit").unwrap(), Some(500));
        assert!(query.is_true("watch"));
        assert_eq!(query.get("absent"), None);
    }

    #[test]
    fn a_broken_escape_stays_as_it_is() {
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%41%+1"), "%zzA%+1");
    }

    #[test]
    fn a_number_that_is_none_is_refused_by_name() {
        let query = Query::parse("timeoutSeconds=soon");
        assert!(query.number("timeoutSeconds").is_err());
    }
}
