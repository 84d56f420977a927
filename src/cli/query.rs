//! Query strings of requests that no typed client makes.

/// `?a=1&b=2` with percent-encoded values; empty when there are none.
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

fn encoded(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    value.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_and_nothing_is_nothing() {
        let pairs = [("object", "Instance default/web-0"), ("actor", "user:ä&b")];
        assert_eq!(
            query(pairs),
            "?object=Instance%20default%2Fweb-0&actor=user%3A%C3%A4%26b"
        );
        assert_eq!(query([]), "");
    }
}
